"""Whatever the schema allows to be asked is answered or refused, with a code, by the product."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from services.errors import ErrorCode
from tests.support.generated import strategies, with_ids
from tests.support.stack import Server, Stack, running_server

FEW, MANY = 25, 200
SECONDS = 60.0
STREAM_SECONDS = 0.3
"""For the first event of a subscription; not all have one."""
REFUSALS = {
    ErrorCode.BAD_USER_INPUT,
    ErrorCode.CAPACITY_EXHAUSTED,
    ErrorCode.CONFLICT,
    ErrorCode.GRAPHQL_VALIDATION_FAILED,
    ErrorCode.NOT_FOUND,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.QUOTA_EXCEEDED,
}
LAST = ("mutation stopSandbox", "mutation restartSandbox", "mutation deleteSandbox")
"""After these, others meet less of a sandbox."""
NAMES = sorted(strategies(), key=LAST.__contains__)
CREATE = """mutation { createSandbox(input: {name: "fuzzed", start: true}) { sandbox { id } } }"""
RUN = """mutation ($id: ID!) { executeCode(input: {sandboxId: $id, code: "print(1)"})
    { execution { id } } }"""
NO_INDEX = "http://127.0.0.1:9/simple"
LEFT = "{ sandboxes(first: 100) { nodes { id } } }"
DELETE = "mutation ($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }"


@dataclass
class Target:
    """A server, a user of it, and the ids of what is theirs."""

    http: httpx.Client
    ids: list[str]

    def ask(self, document: str, **variables: str) -> dict[str, Any]:
        """Send one operation; return what it is answered."""
        body = {"query": document, "variables": variables}
        answer: dict[str, Any] = self.http.post("/graphql", json=body).json()
        return answer

    def first(self, document: str) -> dict[str, Any] | None:
        """Begin a subscription; return the first that comes, where something comes soon."""
        headers = {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(SECONDS, read=STREAM_SECONDS)
        with (
            suppress(httpx.ReadTimeout),
            self.http.stream(
                "POST", "/graphql", json={"query": document}, headers=headers, timeout=timeout
            ) as stream,
        ):
            for line in stream.iter_lines():
                if line.startswith(("data: {", "{")):
                    came: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return came
        return None


@pytest.fixture(scope="module")
def target(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server of its own, with a sandbox in which code has run."""
    log = tmp_path_factory.mktemp("fuzzed") / "log"
    with running_server(stack, log=log, PACKAGE_INDEX_URL=NO_INDEX) as server:
        yield from _targeted(stack, server)
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]


def _targeted(stack: Stack, server: Server) -> Iterator[Target]:
    headers = {"Authorization": f"Bearer {stack.token()}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=SECONDS) as http:
        target = Target(http, [])
        sandbox = target.ask(CREATE)["data"]["createSandbox"]["sandbox"]["id"]
        run = target.ask(RUN, id=sandbox)["data"]["executeCode"]["execution"]["id"]
        target.ids += [sandbox, run]
        yield target
        for left in target.ask(LEFT)["data"]["sandboxes"]["nodes"]:
            target.ask(DELETE, id=left["id"])
        assert target.ask(LEFT)["data"]["sandboxes"]["nodes"] == []


def check(target: Target, name: str, document: str) -> None:
    """Send it; there is an answer, and a refusal in it says what is off."""
    document = with_ids(document, target.ids)
    answer = target.first(document) if name.startswith("subscription") else target.ask(document)
    codes = {error["extensions"]["code"] for error in (answer or {}).get("errors", [])}

    assert codes <= REFUSALS, (document, answer)


def fuzz(target: Target, name: str, examples: int) -> None:
    """Check so many documents of one operation."""

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(document=strategies()[name])
    def each(document: str) -> None:
        check(target, name, document)

    each()


@pytest.mark.parametrize("name", NAMES)
def test_what_the_schema_allows_is_answered(target: Target, name: str) -> None:
    """No document that is valid by the schema makes the server fail."""
    fuzz(target, name, FEW)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_much_of_what_the_schema_allows_is_answered(target: Target, name: str) -> None:
    """The same, with many documents."""
    fuzz(target, name, MANY)
