"""GraphiQL in Debian's Chromium, as a person uses it."""

import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from app.token import DEVELOPER
from tests.support.api import Api
from tests.support.browser import Browser, Tab, browser
from tests.support.stack import Server, Stack
from tests.support.tokens import user_token

# The file that has each word's name lets the code go on to the next one.
CODE = """import os, time
for word in ("first", "second", "third"):
    print(word, flush=True)
    while not os.path.exists(word):
        time.sleep(0.01)"""
# The editor shows blanks as no-break spaces, and wraps long lines.
RESPONSE = 'document.querySelector(".result-window").innerText.replace(/\\s+/g, " ")'
RUN = "Execute query (Ctrl-Enter)"
WRONG = {"AUTHORIZATION": "Bearer none"}
READY = """["Operations", "Variables", "Headers", "Response"]
  .every((name) => document.querySelector(`textarea[aria-label=${name}]`) !== null)"""
HISTORY = """[...document.querySelectorAll(".graphiql-history-item-label")]
  .find((each) => each.innerText === "Viewer")"""
VIOLATION = """new Promise((resolve) => {
  const told = (event) => resolve(event.effectiveDirective);
  document.addEventListener("securitypolicyviolation", told, {once: true});
  try { %s } catch {}
})"""
# A port that nothing listens on, should the policy let one pass.
ATTEMPTS = {
    'new WebSocket("ws://localhost:1/")': "connect-src",
    'fetch("http://localhost:1/").catch(() => {})': "connect-src",
    'new Image().src = "http://localhost:1/"': "img-src",
    'new Worker("data:text/javascript,1")': "worker-src",
    'import("http://localhost:1/").catch(() => {})': "script-src-elem",
}


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """Give a browser that has been nowhere."""
    async with browser() as one:
        yield one


@pytest.fixture
async def developer(stack: Stack, server: Server) -> AsyncIterator[Api]:
    """Give the user whose token is filled in; what is left of it is deleted."""
    async with Api(server.url, user_token(stack, DEVELOPER)) as api:
        yield api
        left = await api.query("{ sandboxes(first: 100) { nodes { id } } }")
        for node in left["sandboxes"]["nodes"]:
            await api.delete(node["id"])


async def open_page(one: Browser, server: Server) -> Tab:
    """Open GraphiQL and wait until its editors have their names."""
    tab = await one.tab()
    await tab.open(f"{server.url}/graphql")
    await tab.until(READY)
    return tab


async def shown(tab: Tab, *words: str) -> str:
    """Wait until the response shows all words, and return what it shows."""
    wanted = " && ".join(f"{RESPONSE}.includes({json.dumps(word)})" for word in words)
    text: str = await tab.until(f"{wanted} && {RESPONSE}")
    return text


async def focus(tab: Tab, editor: str) -> None:
    """Go to an editor that is to be seen."""
    await tab.evaluate(f"document.querySelector('textarea[aria-label={editor}]').focus()")


async def put(tab: Tab, editor: str, content: object) -> None:
    """Replace what an editor below the operation holds."""
    await tab.click(editor)
    await focus(tab, editor)
    await tab.paste(json.dumps(content))


async def reach_by_tab(tab: Tab, part: str) -> None:
    """Press Tab until a part of the page has the focus, from the page's beginning."""
    for _ in range(30):
        await tab.press("Tab")
        if await tab.evaluate(f"document.activeElement.closest({json.dumps(part)}) !== null"):
            return
    pytest.fail(f"{part} can't be reached by Tab")


async def create_sandbox(tab: Tab) -> str:
    """Run the mutation of the second example, and return the sandbox's id."""
    await tab.click("CreateSandbox")
    await tab.click(RUN)
    made = json.loads(await shown(tab, "createSandbox", "} }"))["data"]["createSandbox"]
    assert made["sandbox"]["status"] == "RUNNING"
    return str(made["sandbox"]["id"])


async def watch_code(tab: Tab, api: Api, sandbox: str) -> None:
    """Run code by the third example; each output is seen while the code waits for that."""
    await tab.click("ExecuteCode")
    await put(tab, "Variables", {"input": {"sandboxId": sandbox, "code": CODE}})
    await tab.press("Enter", control=True)
    for word, later in (("first", "second"), ("second", "third"), ("third", "ExecutionFinished")):
        assert later not in await shown(tab, "OutputChunk", word)
        await api.upload(sandbox, word)
    await shown(tab, "ExecutionFinished", "SUCCEEDED")


async def test_a_session(server: Server, developer: Api) -> None:
    """A query by keyboard alone, a mutation, and output seen as it comes, from one origin."""
    async with browser() as one:
        tab = await open_page(one, server)
        buttons, boxes = await tab.names("button"), await tab.names("textbox")
        await reach_by_tab(tab, ".graphiql-query-editor")
        await tab.press("Enter")
        await tab.press("Enter", control=True)
        assert str(DEVELOPER) in await shown(tab, "viewer", "totalCount")
        sandbox = await create_sandbox(tab)
        await watch_code(tab, developer, sandbox)
        kept = await tab.evaluate("JSON.stringify(localStorage)")

    assert tab.complaints == []
    assert all(buttons)
    assert set(boxes) == {"Operations", "Variables", "Response"}
    assert "ExecuteCode" in kept
    assert "Bearer" not in kept
    assert {urlsplit(url).netloc for url in one.requests} == {urlsplit(server.url).netloc}
    assert {urlsplit(url).scheme for url in one.requests} == {"http", "ws"}
    assert any("worker" in url for url in one.requests)


async def test_what_goes_wrong_is_told(server: Server, chromium: Browser) -> None:
    """Errors are read in the response: over HTTP, by websocket, and where nobody answers."""
    tab = await open_page(chromium, server)
    await put(tab, "Headers", WRONG)
    await tab.click(RUN)
    refused = await shown(tab, "UNAUTHENTICATED")
    await tab.click("ExecuteCode")
    await put(tab, "Headers", WRONG)
    await tab.click(RUN)
    closed = await shown(tab, "4403")
    await tab.send("Network.enable")
    await tab.send("Network.setBlockedURLs", urls=[f"{server.url}/graphql"])
    await tab.click("CreateSandbox")
    await tab.click(RUN)
    unanswered = await shown(tab, "does not answer")

    for text in (refused, closed):
        assert (
            "The token is missing or does not verify." in json.loads(text)["errors"][0]["message"]
        )
    assert "The API does not answer" in json.loads(unanswered)["errors"][0]["message"]


@pytest.mark.long
async def test_a_second_visit(server: Server, chromium: Browser) -> None:
    """The token is filled in again, with what the history has kept too."""
    first = await open_page(chromium, server)
    await put(first, "Headers", WRONG)
    await first.click(RUN)
    await shown(first, "UNAUTHENTICATED")
    tab = await open_page(chromium, server)
    await tab.click("Show History")
    await tab.until(f"({HISTORY}) !== undefined")
    await tab.evaluate(f"({HISTORY}).click()")
    await tab.click(RUN)
    found = await shown(tab, "viewer", "totalCount")

    assert str(DEVELOPER) in found


@pytest.mark.long
async def test_more_than_is_shown(server: Server, chromium: Browser, developer: Api) -> None:
    """Of much output the end is in sight, and the page says how many results are not."""
    code = "for _ in range(100): print('x' * 10_000, flush=True)"
    tab = await open_page(chromium, server)
    await tab.click("ExecuteCode")
    sandbox = await developer.create()
    await put(tab, "Variables", {"input": {"sandboxId": sandbox, "code": code}})
    await tab.press("Enter", control=True)
    await shown(tab, "ExecutionFinished", "SUCCEEDED")
    await focus(tab, "Response")
    await tab.press("Home", control=True)
    beginning = await shown(tab, "omitted")

    assert "ExecutionQueued" not in beginning
    assert tab.complaints == []


async def test_no_way_to_another_host(server: Server, chromium: Browser) -> None:
    """The policy keeps the page's scripts from every other origin, by websocket too."""
    tab = await chromium.tab()
    await tab.open(f"{server.url}/graphql")
    stopped = [await tab.evaluate(VIOLATION % attempt) for attempt in ATTEMPTS]

    assert stopped == list(ATTEMPTS.values())
