"""How executions end when container, interpreter and requests come in an unlucky order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.executor import incoming, supervision, verdicts
from services.executor.errors import SandboxSilentError, SandboxStartError
from services.executor.execution import Execution
from services.executor.interpreter import frames
from services.executor.messages import (
    ExecuteRequest,
    ExecutionKind,
    ExecutionRecord,
    ExecutionStatus,
)
from services.executor.runner import InstallPackages, Runner, Setup
from tests.support.scripted_container import ScriptedContainer, Send, go_on, succeed

SETUP = Setup({}, {}, 512 * 1024 * 1024)
ASKED, ASKING_SECONDS, LIMIT_SECONDS = 15, 0.4, 1.0


async def no_install(_execution: Execution, _wish: incoming.Install) -> str | None:
    """Install nothing."""
    return None


@asynccontextmanager
async def runner_of(
    container: ScriptedContainer, install: InstallPackages = no_install
) -> AsyncIterator[Runner]:
    """Have a runner with its interpreter up, and nothing of it afterwards."""
    runner = Runner(container, SETUP, install)
    try:
        await runner.supervision.ensure()
        yield runner
    finally:
        await runner.aclose()
        await container.aclose()


async def run(runner: Runner, code: str = "1", limit: float = 10.0) -> ExecutionRecord:
    """Run code to its end."""
    execution = Execution("an-execution", ExecutionKind.CODE)
    await runner.run(execution, ExecuteRequest("an-execution", code, limit), shell=False)
    return execution.record()


async def buried(runner: Runner) -> None:
    """Wait until a death was noticed and nothing of the dead is left."""
    while runner.supervision.alive or runner.supervision.busy:  # noqa: ASYNC110 # no event
        await asyncio.sleep(0.005)


async def test_a_death_while_idle_is_told_with_the_next_execution() -> None:
    """State that is gone is told once: by the first execution that misses it."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        before = await run(runner)
        container.die()
        await buried(runner)
        first, second = await run(runner), await run(runner)

    told = [record.interpreter_restarted for record in (before, first, second)]
    assert told == [False, True, False]


async def test_a_death_before_anything_ran_is_nobodys_loss() -> None:
    """Where no code has run yet, nothing is said to be lost."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        container.die()
        await buried(runner)
        record = await run(runner)

    assert not record.interpreter_restarted


async def test_a_replacement_while_idle_is_told_too() -> None:
    """What ends everything while no code runs, such as the disk's limit, costs state as well."""
    async with runner_of(ScriptedContainer()) as runner:
        await run(runner)
        await runner.supervision.replace()
        record = await run(runner)

    assert record.interpreter_restarted


@pytest.mark.parametrize("closing_seconds", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.2])
async def test_code_that_comes_while_the_dead_are_buried(
    delay: float, closing_seconds: float
) -> None:
    """It runs once, to its end, in the next container, which nobody ends."""
    container = ScriptedContainer(closing_seconds=closing_seconds)
    async with runner_of(container) as runner:
        container.die()
        await asyncio.sleep(delay)
        record = await run(runner)

        assert record.status is ExecutionStatus.SUCCEEDED
        assert container.ran[-1] == (2, "1")
        assert container.running


async def test_an_interpreter_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants one does not wait for it without end: container and interpreter are made anew."""
    monkeypatch.setattr(supervision, "READY_SECONDS", 0.05)

    async def die_speechless(made: ScriptedContainer, run: int, send: Send) -> None:
        if made.made == 1:
            send(frames.DIED, {"run": run, "exit_code": 3})
        else:
            await succeed(made, run, send)

    container = ScriptedContainer(die_speechless)
    async with runner_of(container) as runner:
        died, next_one = await run(runner), await run(runner)

    assert (died.status, died.exit_code) == (ExecutionStatus.FAILED, 3)
    assert next_one.status is ExecutionStatus.SUCCEEDED
    assert container.ran == [(1, "1"), (2, "1")]


async def test_a_death_found_by_somebody_else_ends_what_runs() -> None:
    """Whoever waits for the next interpreter may be the first to see that none will come."""

    async def lose_interpreter(made: ScriptedContainer, run: int, send: Send) -> None:
        send(frames.DIED, {"run": run + 1, "exit_code": 0})
        await go_on(made, run, send)

    container = ScriptedContainer(lose_interpreter)
    async with runner_of(container) as runner:
        running = asyncio.create_task(run(runner))
        while runner.supervision.alive:  # noqa: ASYNC110 # no event
            await asyncio.sleep(0.005)
        asking = asyncio.create_task(runner.ask(frames.COUNT, frames.COUNTED, 5.0))
        while not runner.supervision.busy:  # noqa: ASYNC110 # no event
            await asyncio.sleep(0.005)
        container.die()
        record = await running

        assert await asking == {"processes": 3}
        assert record.status is ExecutionStatus.LOST


async def test_asking_goes_on_after_a_death() -> None:
    """A question to a dead sandbox brings it back, and the answers of later ones come."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        container.die()
        await buried(runner)
        answers = [await runner.ask(frames.COUNT, frames.COUNTED, 5.0) for _ in range(2)]

    assert answers == [{"processes": 3}] * 2


async def test_asking_goes_on_after_silence() -> None:
    """A question without an answer is an error with a remedy, and the next one is sent anew."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        container.deaf = True
        with pytest.raises(SandboxSilentError, match="try again"):
            await runner.ask(frames.COUNT, frames.COUNTED, 0.05)
        container.deaf = False
        answer = await runner.ask(frames.COUNT, frames.COUNTED, 5.0)

    assert answer == {"processes": 3}


async def test_a_death_answers_who_waits() -> None:
    """Who waits for an answer of a sandbox that dies is told so at once."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        container.deaf = True
        asking = asyncio.create_task(runner.ask(frames.COUNT, frames.COUNTED, 60.0))
        await container.received(frames.COUNT)
        container.die()

        with pytest.raises(SandboxSilentError, match="ended before"):
            await asking


async def test_questions_taken_back_win_no_time() -> None:
    """Code that asks, breaks the question off and asks again ends at its limit."""

    async def ask_again(_made: ScriptedContainer, run: int, send: Send) -> None:
        for number in range(1, ASKED + 1):
            send(frames.ASK, {"number": number, "prompt": "?", "password": False})
            await asyncio.sleep(ASKING_SECONDS)
            send(frames.WITHDRAWN, {"number": number})
        send(frames.DONE, {"run": run, "exit_code": 0, "execution_count": 1})

    async with runner_of(ScriptedContainer(ask_again)) as runner:
        record = await run(runner, limit=LIMIT_SECONDS)

    assert record.status is ExecutionStatus.TIMED_OUT
    assert record.duration_ms is not None
    assert record.duration_ms < ASKED * ASKING_SECONDS * 1000


async def stop(runner: Runner) -> None:
    """Do what the end of a session does."""
    runner.conclude(verdicts.lost("it was stopped"))
    await runner.aclose()


@pytest.mark.parametrize(
    ("end", "status"),
    [(Runner.restart, ExecutionStatus.INTERRUPTED), (stop, ExecutionStatus.LOST)],
)
async def test_what_is_ended_before_it_began(
    end: Callable[[Runner], Awaitable[None]], status: ExecutionStatus
) -> None:
    """Code whose container is still being made when it is to end does not run to its end."""
    container = ScriptedContainer(go_on, starting_seconds=0.2)
    async with runner_of(container) as runner:
        container.die()
        await buried(runner)
        container.starting.clear()
        running = asyncio.create_task(run(runner, limit=3600.0))
        await container.starting.wait()
        await end(runner)
        record = await running

    assert record.status is status


async def test_nothing_begins_after_the_end() -> None:
    """A session that is over makes no container any more."""
    container = ScriptedContainer()
    async with runner_of(container) as runner:
        await runner.aclose()
        record = await run(runner)
        with pytest.raises(SandboxStartError, match="over"):
            await runner.ask(frames.COUNT, frames.COUNTED, 1.0)

    assert record.status is ExecutionStatus.LOST
    assert container.made == 1


async def test_a_fault_of_an_installation_is_answered() -> None:
    """Code that waits for its packages hears of it, whatever went wrong."""
    told: list[frames.Payload] = []

    async def want_six(made: ScriptedContainer, run: int, send: Send) -> None:
        send(frames.INSTALL, {"number": 7, "requirements": ["six"]})
        told.append(await made.received(frames.INSTALLED))
        await succeed(made, run, send)

    async def broken(_execution: Execution, _wish: incoming.Install) -> str | None:
        raise OSError("the disk is on fire")

    async with runner_of(ScriptedContainer(want_six), broken) as runner:
        record = await run(runner)

    assert record.status is ExecutionStatus.SUCCEEDED
    assert told == [
        {"number": 7, "ok": False, "message": "a fault of the service, told in its log"}
    ]


async def test_a_frame_that_the_service_does_not_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in taking a frame ends the execution; nobody waits for its limit."""

    def unbearable(_payload: frames.Payload) -> incoming.Done:
        raise KeyError("run")

    container = ScriptedContainer()
    async with runner_of(container) as runner:
        with monkeypatch.context() as patched:
            patched.setattr(incoming, "done", unbearable)
            record = await run(runner)
        next_one = await run(runner)

    assert record.status is ExecutionStatus.LOST
    assert record.error is not None
    assert "a fault of the service" in record.error.value
    assert next_one.status is ExecutionStatus.SUCCEEDED
