"""Keeps an interpreter at hand: the container, the stream into it, and its replacement."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from services.executor.errors import SandboxStartError
from services.executor.interpreter import frames
from services.executor.link import Enterable, Link, open_link

logger = logging.getLogger(__name__)

REPLACE_SECONDS = 1.0
READY_SECONDS = 3.0
START_SECONDS = 30.0
WATCH_SECONDS = 60.0
WATCH_PAUSE_SECONDS = 1.0
NO_INTERPRETER = "its interpreter ended and no other came"
LAST_WORDS_SECONDS = 0.1
"""How long the stream of a container that ended may take to say so itself."""


class Container(Enterable, Protocol):
    """A session's container; what is not a coroutine blocks."""

    def ensure(self) -> None:
        """Make it run, creating it where needed. Raises `SandboxStartError`."""

    def kill(self) -> None:
        """End it at once; nothing of the sandbox runs after this."""

    def forgive_memory(self) -> None:
        """Take what the kernel has ended of it for want of memory for told; does not wait."""

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel has ended anything of it for that since it was forgiven."""

    def memory_in_use(self) -> int:
        """Return the bytes of memory that only an end of something would free."""

    def ended(self, seconds: float) -> bool:
        """Wait until it runs no more, at most so long, and say whether that is so."""

    def cause_of_death(self) -> str:
        """Say why it, or the stream into it, is dead."""


class Listener(Protocol):
    """Who takes what comes out of the sandbox."""

    async def on_frame(self, kind: int, body: bytes) -> None:
        """Take one frame; no more is read until this returns."""

    def on_death(self, reason: str) -> None:
        """Take note that the stream ended by itself."""


class Supervision:
    """One link at a time; made when needed, made again when it was lost."""

    def __init__(
        self, container: Container, listener: Listener, setup: Callable[[], frames.Payload]
    ) -> None:
        """Use the container; `setup` gives the first frame's payload."""
        self.hello: frames.Payload = {}
        self._container = container
        self._listener = listener
        self._setup = setup
        self._link: Link | None = None
        self._pump: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        """The link's stream has ended: nothing will come from it any more."""
        self.generation = 0
        """Grows with each interpreter, in whatever container."""
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether there is an interpreter to send to."""
        return self._link is not None and self._ready.is_set() and not self._over.is_set()

    @property
    def busy(self) -> bool:
        """Whether an interpreter is being brought up, replaced or buried."""
        return self._lock.locked()

    async def ensure(self) -> bool:
        """Bring container and interpreter up; return whether they had to be.

        Raises `SandboxStartError`.
        """
        if self.alive:
            return False
        async with self._lock:
            if self._closed:
                raise SandboxStartError("The session is over.")
            if await self._is_ready(READY_SECONDS):
                return False
            if self._link is not None:
                # It said that its interpreter was dead, and then nothing: who knows what runs.
                self._link.abort()
                await self._bury(self._link, None if self._over.is_set() else NO_INTERPRETER)
            await asyncio.to_thread(self._container.ensure)
            await self._connect()
        return True

    async def _is_ready(self, seconds: float) -> bool:
        """Give an interpreter that is being forked its moment."""
        if self._link is None or self._over.is_set():
            return False
        told = [asyncio.create_task(event.wait()) for event in (self._ready, self._over)]
        try:
            await asyncio.wait(told, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in told:
                waiting.cancel()
        return self.alive

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                self._link, self.hello = await open_link(self._container, self._setup())
        except TimeoutError as error:
            await asyncio.to_thread(self._container.kill)
            msg = f"The interpreter did not answer within {START_SECONDS:.0f} s of its start."
            raise SandboxStartError(msg) from error
        self._over.clear()
        self._ready.set()
        self.generation += 1
        self._pump = asyncio.create_task(self._read(self._link), name="pump")
        self._guard = asyncio.create_task(self._watch(self._link), name="guard")

    def send(self, kind: int, payload: frames.Payload) -> None:
        """Send a frame to the supervisor; without one, it is of no use and dropped."""
        if self._link is not None and not self._over.is_set():
            self._link.send(kind, payload)

    async def _watch(self, link: Link) -> None:
        """End the stream with its container: Docker leaves some open (20.10 with gVisor does)."""
        ended = self._container.ended
        while not await asyncio.to_thread(ended, WATCH_SECONDS):  # noqa: ASYNC110 # no event
            await asyncio.sleep(WATCH_PAUSE_SECONDS)
        if self._link is link:
            self._ready.clear()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        link.abort()

    async def _read(self, link: Link) -> None:
        broken: str | None = None
        async for kind, body in link.frames():
            broken = await self._take(kind, body)
            if broken is not None:
                await asyncio.to_thread(self._container.kill)
                break
        if self._link is not link:
            return
        self._ready.clear()
        self._over.set()
        # Whoever wants an interpreter waits until nothing of the old one is left: it must not
        # be the new one's container that is ended here.
        async with self._lock:
            if self._link is link:
                await self._bury(link, broken)

    async def _take(self, kind: int, body: bytes) -> str | None:
        """Hand a frame on; return what is wrong with the sandbox where it is not one."""
        if kind == frames.READY:
            self.generation += 1
            self._ready.set()
        elif kind == frames.DIED:
            self._ready.clear()
        try:
            await self._listener.on_frame(kind, body)
        except frames.FrameError as error:
            logger.warning("a frame from the sandbox is not one: %s", error)
            return f"what came out of it could not be read ({error})"
        except Exception:
            logger.exception("a frame from the sandbox was not borne")
            return "what came out of it met a fault of the service, told in its log"
        return None

    async def _bury(self, link: Link, reason: str | None) -> None:
        """End what the code has left running: without a supervisor nobody inside does."""
        self._link = self._pump = None
        self._ready.clear()
        if self._guard is not None:
            self._guard.cancel()
        await link.aclose()
        if link.errors:
            logger.warning("the supervisor's last words: %s", link.errors)
        if reason is None:
            reason = await asyncio.to_thread(self._container.cause_of_death)
        try:
            await asyncio.to_thread(self._container.kill)
        finally:
            self._listener.on_death(reason)

    async def replace(self) -> None:
        """End every process of the sandbox; a fresh interpreter may come with that.

        By the supervisor, in milliseconds; where it does not answer, with the container.
        """
        async with self._lock:
            if self._link is not None:
                self._ready.clear()
                self._link.send(frames.REPLACE, {})
                if await self._is_ready(REPLACE_SECONDS):
                    return
                logger.warning("the supervisor does not answer: ending its container")
            await self._end_container()

    async def discard(self) -> None:
        """End the container: the next interpreter gets another."""
        async with self._lock:
            await self._end_container()

    async def _end_container(self) -> None:
        """End all that runs at once, and then the stream, which has nobody to wait for."""
        if self._link is not None:
            self._link.abort()
        try:
            await asyncio.to_thread(self._container.kill)
        finally:
            await self._drop_link()

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        pump, self._pump = self._pump, None
        if self._guard is not None:
            self._guard.cancel()
        self._ready.clear()
        if link is not None:
            await link.aclose()
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def aclose(self) -> None:
        """Close the stream, at which the supervisor ends everything, for good; idempotent."""
        self._closed = True
        async with self._lock:
            await self._drop_link()
