"""Code that services answering from memory run: the subscription, and the events it yields."""

from services.executor import messages
from tests.support.stub_services import Stubs

RUN = """subscription { executeCode(input: {sandboxId: "x", code: "1"}) {
    __typename seq ... on OutputChunk { text } } }"""


def printing(text: str) -> Stubs:
    """Make what stands behind a server: code that prints so much and succeeds."""
    stubs = Stubs()
    stubs.executions.events = [
        messages.Started(1, 1.0),
        messages.Output(2, 1.0, messages.OutputStream.STDOUT, text),
        messages.Finished(
            3, 1.0, messages.ExecutionStatus.SUCCEEDED, 0, 1.0, interpreter_restarted=False
        ),
    ]
    return stubs
