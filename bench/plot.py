"""Bars over a logarithmic scale, as SVG."""

import math
from collections.abc import Mapping
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 290, 90, 56, 48
BAR, GAP = 24, 12
OURS_FILL, FILL, LINE, TEXT = "#1f6feb", "#9aa4b2", "#d8dee6", "#1c2128"
HALO = 'paint-order="stroke" stroke="#ffffff" stroke-width="4"'
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="14" fill="{text}">'
)


def decades(least: float, most: float) -> tuple[int, int]:
    """Return the powers of ten around two positive values, which are never the same."""
    low = math.floor(math.log10(least))
    return low, max(math.ceil(math.log10(most)), low + 1)


def bars(title: str, milliseconds: Mapping[str, float], ours: str) -> str:
    """Draw a horizontal bar for each positive duration, the shortest on top."""
    ordered = sorted(milliseconds.items(), key=lambda item: item[1])
    low, high = decades(ordered[0][1], ordered[-1][1])
    bottom = TOP + len(ordered) * (BAR + GAP)
    parts = [
        HEAD.format(width=WIDTH, height=bottom + BOTTOM, text=TEXT),
        f'<rect width="{WIDTH}" height="{bottom + BOTTOM}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        x = f"{across(10.0**power):.1f}"
        parts += [
            f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom}" stroke="{LINE}"/>',
            f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{10.0**power:g} ms</text>',
        ]
    for number, (name, value) in enumerate(ordered):
        top = TOP + number * (BAR + GAP)
        middle, end = top + BAR * 0.7, across(value)
        width, fill = max(end - LEFT, 1.0), OURS_FILL if name == ours else FILL
        parts += [
            f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{fill}"/>',
            f'<text x="{end + 8:.1f}" y="{middle:.1f}" {HALO}>{value:.3g} ms</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
