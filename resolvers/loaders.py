"""Pages of executions that many fields of one step of an operation ask for, read at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from services.entities import ExecutionOutline, Page, SandboxId, Viewer
from services.errors import ServiceError
from services.execution_pages import ExecutionPages
from services.read_budget import ReadBudget


@dataclass(frozen=True, slots=True)
class PageWanted:
    """How a field wants its page of executions; fields that want it alike share a reading."""

    first: int
    after: str | None
    large: int
    """How often what is large of each execution is shown; 0 is never."""


type Found = Page[ExecutionOutline] | ServiceError


async def load_pages(
    pages: ExecutionPages,
    viewer: Viewer,
    keys: Sequence[tuple[SandboxId, PageWanted]],
    budget: ReadBudget,
) -> list[Found]:
    """Return a page for each key, or what it is refused by."""
    alike: defaultdict[PageWanted, list[int]] = defaultdict(list)
    for place, (_, wanted) in enumerate(keys):
        alike[wanted].append(place)
    found: dict[int, Found] = {}
    for wanted, places in alike.items():
        ids = [keys[place][0] for place in places]
        read = await _read(pages, viewer, ids, wanted, budget.share(wanted.large))
        found.update(zip(places, read, strict=True))
    return [found[place] for place in range(len(keys))]


async def _read(
    pages: ExecutionPages,
    viewer: Viewer,
    ids: Sequence[SandboxId],
    wanted: PageWanted,
    budget: ReadBudget,
) -> Sequence[Found]:
    read = pages.whole if wanted.large else pages.outlines
    try:
        return await read(viewer, ids, wanted.first, wanted.after, budget)
    except ServiceError as error:
        return [error] * len(ids)
