"""Two nodes, of which one lacks something: the other goes on, and nobody judges by half."""

from collections.abc import AsyncIterator

import pytest

from services.executor.errors import ClusterUnavailableError
from tests.support.second_node import NO_DOCKER, second_node
from tests.support.sessions import Desk, Lab
from tests.support.stack import Stack, docker


@pytest.fixture(scope="module")
async def blind(stack: Stack, desk: Desk) -> AsyncIterator[str]:
    """The id of a node without Docker, beside the one that has the desk."""
    assert desk.id
    async with second_node(stack, NO_DOCKER) as added:
        yield added


async def test_an_inventory_has_what_the_other_nodes_say(desk: Desk, blind: str) -> None:
    """A node whose Docker is away is unknown: what others have is listed all the same."""
    traces = {trace.session_id: trace for trace in await desk.executor.inventory()}

    assert traces[desk.id].actor
    assert traces[desk.id].container
    assert traces[desk.id].node_id not in (None, blind)


async def test_a_session_is_stopped_wherever_it_is(lab: Lab, desk: Desk, blind: str) -> None:
    """Its container goes though another node can't be asked; to forget it, all must answer."""
    other = await lab.start(node_id=await node_of(desk))
    await other.executor.stop(other.id, None)
    label = f"label=sandbox-api.session={other.id}"
    left = docker("ps", "--all", "--quiet", "--filter", label)
    with pytest.raises(ClusterUnavailableError, match="Docker"):
        await other.executor.destroy(other.id, None)
    traces = {trace.session_id for trace in await other.executor.inventory()}

    assert blind
    assert left == ""
    assert other.id not in traces


async def test_files_that_no_node_tells_of_are_not_given_up(desk: Desk, blind: str) -> None:
    """Who has them is unknown as long as a node does not answer; those found are found."""
    agents = desk.executor._agents
    known = await node_of(desk)

    assert blind
    assert await agents.holder(desk.id, "0" * 56) == known
    with pytest.raises(ClusterUnavailableError):
        await agents.holder(f"{desk.spec.instance}-elsewhere", "0" * 56)


async def test_what_a_node_lacks_is_said_for_each(desk: Desk, blind: str) -> None:
    """Of the node that lacks Docker, and nothing of the other."""
    [problem] = await desk.executor.problems()

    assert blind
    assert "Docker" in problem


async def node_of(desk: Desk) -> str:
    """Return the node that has a running session."""
    return (await desk.executor.start(desk.spec)).node_id
