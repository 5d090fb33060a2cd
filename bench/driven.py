"""A peer in a process of the peers' environment, which answers by lines of JSON."""

import asyncio
import json
import os
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, Any

from bench.environment import PYTHON
from bench.turns import Once, SubjectError
from ops.layout import REPOSITORY

START_SECONDS = 120.0
RUN_SECONDS = 30.0
END_SECONDS = 30.0


@asynccontextmanager
async def driven(module: str, options: Mapping[str, object]) -> AsyncIterator[tuple[str, Once]]:
    """Start a peer; yield its version and what runs it once. Raises `SubjectError`."""
    with tempfile.TemporaryFile() as errors:
        process = await _begun(module, options, errors)
        peer = _Peer(process, errors)
        try:
            yield str((await peer.answer(START_SECONDS))["ready"]), peer.once
        finally:
            await _ended(process)


class _Peer:
    def __init__(self, process: Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    async def once(self) -> tuple[float, float]:
        """Run once."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(b'"run"\n')
        taken = await self.answer(RUN_SECONDS)
        return float(taken["first"]), float(taken["end"])

    async def answer(self, seconds: float) -> dict[str, Any]:
        """Return the next line. Raises `SubjectError`."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise SubjectError(f"no answer in {seconds:.0f} s") from error
        if not line:
            raise SubjectError(f"it ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise SubjectError(str(answer["failed"]))
        return answer

    def _last_words(self) -> str:
        # A descriptor of its own, for the process writes where its own stands.
        size = os.fstat(self._errors.fileno()).st_size
        words = os.pread(self._errors.fileno(), 4096, max(0, size - 4096))
        lines = words.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


async def _begun(module: str, options: Mapping[str, object], errors: IO[bytes]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            PYTHON,
            "-m",
            module,
            json.dumps(options),
            cwd=REPOSITORY,
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            # An end from the terminal is ours to pass on: the peer cleans up first.
            start_new_session=True,
        )
    except OSError as error:
        raise SubjectError(str(error)) from error


async def _ended(process: Process) -> None:
    """Let the peer clean up: it ends when its standard input does."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.close()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
    if await process.wait() != 0:
        # What it has not cleaned up: it is the first of its group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
