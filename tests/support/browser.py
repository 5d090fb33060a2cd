"""Debian's Chromium without a screen, driven by the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ names the methods and events.
"""

import asyncio
import json
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.postgres import install_debian

Json = dict[str, Any]
PROGRAM = "chromium"
SECONDS = 30.0
OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    # A test asks nobody outside, not even where the page or the browser would.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1400,1000",
)
NET_LOG = "net.json"
ANNOUNCEMENT = "DevTools listening on "
NOBODY = "not an origin"
"""Who the log says has begun the browser's own errands, and what a person opens."""
CONTROL = 2
"""The bit of the key among an event's modifiers."""
KEYS: dict[str, Json] = {
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13},
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Home": {"key": "Home", "code": "Home", "windowsVirtualKeyCode": 36},
    "a": {"key": "a", "code": "KeyA", "windowsVirtualKeyCode": 65},
}
# Resolves as soon as the condition holds, looked at after each change of the page.
UNTIL = """new Promise((resolve) => {
  const look = () => {
    const found = (%s);
    if (found) { observer.disconnect(); resolve(found); }
  };
  const observer = new MutationObserver(look);
  observer.observe(document, {subtree: true, childList: true, characterData: true,
    attributes: true});
  look();
})"""
CLICK = """((name) => [...document.querySelectorAll("button")]
  .find((each) => each.ariaLabel === name || each.innerText === name).click())(%s)"""
EDITOR = "document.activeElement.closest('.monaco-editor')"
PASTE = """(() => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", %s);
  const event = new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true});
  document.activeElement.dispatchEvent(event);
})()"""


class DevToolsError(Exception):
    """The browser refused a command, or a script in the page failed."""


class DevTools:
    """The browser's websocket: commands with their answers, and events as they come."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self.complaints: list[str] = []

    async def send(self, method: str, session: str | None = None, **params: object) -> Json:
        """Run one command and return its result; raises `DevToolsError`."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._post(number, method, session, params)
        async with asyncio.timeout(SECONDS):
            message = await answer
        if "error" in message:
            raise DevToolsError(f"{method}: {message['error']['message']}")
        result: Json = message["result"]
        return result

    async def _post(
        self, number: int, method: str, session: str | None, params: Mapping[str, object]
    ) -> None:
        message: Json = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        await self._connection.send(json.dumps(message))

    async def listen(self) -> None:
        """Take answers and events until the browser is gone."""
        with suppress(ConnectionClosed):
            async for text in self._connection:
                await self._take(json.loads(text))

    async def _take(self, message: Json) -> None:
        if answer := self._answers.pop(message.get("id", 0), None):
            answer.set_result(message)
        elif message.get("method") == "Target.attachedToTarget":
            await self._watch(message["params"]["sessionId"])
        elif complaint := complaint_of(message):
            self.complaints.append(complaint)

    async def _watch(self, session: str) -> None:
        """Have a page's or a worker's complaints told, those from before now too."""
        follow = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        for method, params in (
            ("Runtime.enable", {}),
            ("Log.enable", {}),
            ("Target.setAutoAttach", follow),
        ):
            await self._post(next(self._numbers), method, session, params)


def complaint_of(event: Json) -> str | None:
    """Say what an event complains of: the console's errors and warnings, and the log's errors.

    Violations of a policy and requests that failed are among those.
    """
    params = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            return f"exception: {params['exceptionDetails']}"
        case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
            return f"console: {[each.get('value', each) for each in params['args']]}"
        case "Log.entryAdded" if params["entry"]["level"] == "error":
            return f"log: {params['entry']['text']} {params['entry'].get('url', '')}"
    return None


class Tab:
    """One page of a browser."""

    def __init__(self, tools: DevTools, session: str) -> None:
        self._tools = tools
        self._session = session

    @property
    def complaints(self) -> list[str]:
        """What the browser has said against its pages until now."""
        return self._tools.complaints

    async def send(self, method: str, **params: object) -> Json:
        """Run a command of the page's."""
        return await self._tools.send(method, self._session, **params)

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.send("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Return an expression's value, awaited where it is a promise."""
        done = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in done:
            raise DevToolsError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    async def until(self, condition: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Wait until an expression is true in the page, and return its value."""
        try:
            return await self.evaluate(UNTIL % condition)
        except TimeoutError:
            seen = await self.evaluate("document.body.innerText")
            raise TimeoutError(f"never true: {condition}\n{seen}\n{self.complaints}") from None

    async def press(self, key: str, *, control: bool = False) -> None:
        """Press a key and let go of it."""
        event = KEYS[key] | {"modifiers": CONTROL if control else 0}
        await self.send("Input.dispatchKeyEvent", type="rawKeyDown", **event)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    async def click(self, name: str) -> None:
        """Click the button of a name."""
        await self.evaluate(CLICK % json.dumps(name))

    async def paste(self, text: str) -> None:
        """Replace what the focused editor holds by one line: typed text gets brackets added."""
        await self.press("a", control=True)
        await self.evaluate(PASTE % json.dumps(text))
        # The editor takes what is pasted a moment later, and shows blanks as no-break spaces.
        await self.until(
            f"{EDITOR}.innerText.replaceAll('\\xa0', ' ').includes({json.dumps(text)})"
        )

    async def names(self, role: str) -> list[str]:
        """List the names by which assistive technology knows what has a role."""
        tree = await self.send("Accessibility.getFullAXTree")
        return [
            node.get("name", {}).get("value", "")
            for node in tree["nodes"]
            if not node["ignored"] and node["role"]["value"] == role
        ]


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools
        self.requests: list[str] = []
        """Every address that a page or a worker has asked for; known at the browser's end."""

    async def tab(self) -> Tab:
        """Open an empty page."""
        target = await self._tools.send("Target.createTarget", url="about:blank")
        attached = await self._tools.send(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        return Tab(self._tools, attached["sessionId"])


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Have a browser for the length of a block; Chromium is installed where it is missing."""
    if shutil.which(PROGRAM) is None:
        await asyncio.to_thread(install_debian, PROGRAM)
    with tempfile.TemporaryDirectory(prefix="sba-browser-") as folder:
        async with (
            _process(Path(folder)) as address,
            connect(address, max_size=None) as connection,
        ):
            tools = DevTools(connection)
            listening = asyncio.create_task(tools.listen())
            one = Browser(tools)
            try:
                yield one
            finally:
                # In order, so that its log of the network is whole.
                await tools.send("Browser.close")
                await listening
        one.requests += asked_by_pages(json.loads((Path(folder) / NET_LOG).read_text()))


def asked_by_pages(net_log: Json) -> list[str]:
    """List what pages and their workers asked for, by a log of Chromium's network stack."""
    begun = net_log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    starts = [event.get("params", {}) for event in net_log["events"] if event["type"] == begun]
    return [start["url"] for start in starts if start.get("initiator", NOBODY) != NOBODY]


@asynccontextmanager
async def _process(folder: Path) -> AsyncIterator[str]:
    """Have a browser's process, which ends when it is told to; yield its websocket's address."""
    # Its own sandbox wants another user than root.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *OPTIONS, *sandbox,
        f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / NET_LOG}",
        stdout=DEVNULL, stderr=PIPE, env=os.environ | {"HOME": str(folder)},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SECONDS):
            address = await _announced(process.stderr)
        drained = asyncio.create_task(process.stderr.read())
        yield address
        async with asyncio.timeout(SECONDS):
            await drained
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _announced(said: asyncio.StreamReader) -> str:
    lines = []
    async for line in said:
        lines.append(line.decode())
        if ANNOUNCEMENT in lines[-1]:
            return lines[-1].partition(ANNOUNCEMENT)[2].strip()
    raise DevToolsError(f"{PROGRAM} has ended: {''.join(lines)}")
