"""Two nodes, of which one lacks something: the other goes on, and nobody judges by half."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.errors import ClusterUnavailableError, NoCapacityError
from tests.support.api import Api, GraphQLError
from tests.support.faults import eventually, settled
from tests.support.second_node import NO_DOCKER, kill_node, second_node
from tests.support.sessions import Desk, Lab
from tests.support.stack import Stack, docker, running_server
from tests.support.tokens import user_token
from tests.support.traces import containers

NOTICED_SECONDS = 90.0
"""Until a node that says nothing more is one that is gone."""


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


@pytest.mark.long
async def test_a_full_node_is_said_to_be_full(lab: Lab, stack: Stack) -> None:
    """A session that belongs to it has no use for the room that another node has."""
    async with second_node(stack, cpus=1) as added:
        first = await lab.start(node_id=added, num_cpus=0.8)
        second = lab.desk(node_id=added, num_cpus=0.8, start_timeout_seconds=20.0)
        with pytest.raises(NoCapacityError, match="no room"):
            await second.executor.start(second.spec)
        await first.executor.stop(first.id, added)
        await second.executor.start(second.spec)

        assert await second.value("6 * 7") == "42"


@pytest.mark.long
@pytest.mark.usefixtures("lab")
async def test_a_node_that_goes_away(stack: Stack, tmp_path: Path) -> None:
    """What ran there is LOST and FAILED, both with the reason, and nothing of it is left."""
    async with second_node(stack, cpus=8) as added:
        # Only that node has room for it.
        settings = {"SANDBOX_CPU_RESERVATION": "4"}
        with running_server(stack, log=tmp_path / "log", **settings) as server:
            async with Api(server.url, user_token(stack)) as user:
                sandbox = await user.create()
                async with user.live(sandbox, "print('up', flush=True)\ninput()") as live:
                    await live.until("InputRequested")
                    kill_node(added)
                    run = await live.end()
                failed = await settled(user, sandbox, "FAILED", NOTICED_SECONDS)
                with pytest.raises(GraphQLError) as refused:
                    await user.change("startSandbox", sandbox)
                await user.delete(sandbox)
                await eventually(lambda: asyncio.to_thread(containers, sandbox), _is_empty)

    assert run.status == "LOST"
    assert run.stdout == "up\n"
    assert "killed from outside" in run.finished["execution"]["error"]["value"]
    assert "killed from outside" in str(failed["statusReason"])
    assert refused.value.code == "CAPACITY_EXHAUSTED"


def _is_empty(found: list[str]) -> bool:
    return found == []
