"""Which mirror a machine's own apt configuration names."""

from pathlib import Path

import pytest

from ops.apt import debian_mirror

OFF = "Enabled: no\n"
DEB822 = """Types: deb
# an older address
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def sources(folder: Path, name: str, content: str) -> Path:
    """An /etc/apt with one file of sources."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "mirror"),
    [
        ("sources.list.d/debian.sources", DEB822, "http://mirror.example/debian"),
        ("sources.list", "deb http://a.example/debian/ bookworm main", "http://a.example/debian/"),
        (
            "sources.list.d/x.list",
            "deb [arch=amd64 signed-by=/k.gpg] https://b.example/debian trixie main contrib",
            "https://b.example/debian",
        ),
        ("sources.list", "# deb http://a.example/debian bookworm main", None),
        ("sources.list", "deb http://a.example/debian bookworm-security main", None),
        ("sources.list", "deb http://a.example/debian bookworm contrib", None),
        ("sources.list", "deb-src http://a.example/debian bookworm main", None),
        ("sources.list", "deb https://download.example/linux/vendor bookworm main", None),
        (
            "sources.list.d/off.sources",
            DEB822.replace("Types: deb ", "Enabled: no\nTypes: deb "),
            None,
        ),
        ("other", "", None),
    ],
)
def test_the_mirror_is_the_machines_own(
    tmp_path: Path, name: str, content: str, mirror: str | None
) -> None:
    """Both formats are read; security, sources, other vendors and comments don't count."""
    assert debian_mirror(sources(tmp_path, name, content)) == mirror
