"""Two nodes that lack nothing, of which one is full or goes away."""

import asyncio
from pathlib import Path

import pytest

from services.executor.errors import NoCapacityError
from tests.support.api import Api, GraphQLError
from tests.support.faults import eventually, settled
from tests.support.second_node import kill_node, second_node
from tests.support.sessions import Lab
from tests.support.stack import Stack, running_server
from tests.support.tokens import user_token
from tests.support.traces import containers

NOTICED_SECONDS = 90.0
"""Until a node that says nothing more is one that is gone."""


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
