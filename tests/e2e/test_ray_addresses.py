"""Ray's addresses as an operator may give them, each with an API process of its own."""

from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.faults import move, ray_token
from tests.support.stack import Stack, running_server
from tests.support.tokens import user_token


def address(stack: Stack, form: str) -> dict[str, str]:
    """Return the variables that name the stack's cluster in one of the forms."""
    state = stack.state("ray")
    named = {
        # Where several clusters run on a machine, `auto` takes the one of this folder.
        "auto": {"RAY_ADDRESS": "auto", "RAY_TMPDIR": str(Path(state["temp_dir"]).parent)},
        "host:port": {"RAY_ADDRESS": state["address"]},
        "ray://": {"RAY_ADDRESS": state["client_address"]},
    }[form]
    return named | ray_token(stack)


@pytest.mark.parametrize(
    "form",
    [*(pytest.param(form, marks=pytest.mark.long) for form in ("auto", "host:port")), "ray://"],
)
async def test_code_runs_over_every_form_of_address(
    stack: Stack, tmp_path: Path, form: str
) -> None:
    """A sandbox is made, runs code, keeps files over stop and start, and is deleted.

    With no address at all every other test here runs: that is the local head.
    """
    with running_server(stack, log=tmp_path / "log", **address(stack, form)) as server:
        async with Api(server.url, user_token(stack)) as api:
            sandbox = await api.create()
            run = await api.run(sandbox, "x = 6\nprint(x * 7)")
            await api.upload(sandbox, "kept.txt", b"kept")
            await move(api, "stopSandbox", sandbox)
            await move(api, "startSandbox", sandbox)
            content = await api.download(sandbox, "kept.txt")
            lost = await api.run(sandbox, "x")
            await api.delete(sandbox)

    assert run.stdout == "42\n"
    assert content == b"kept"
    assert lost.error["name"] == "NameError"


@pytest.mark.long
async def test_a_wrong_token_is_no_hang(stack: Stack, tmp_path: Path) -> None:
    """A process whose token the cluster refuses ends within a minute, in one line."""
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    variables = address(stack, "host:port") | {"RAY_AUTH_TOKEN_PATH": str(wrong)}

    with (
        pytest.raises(RuntimeError, match="check RAY_ADDRESS"),
        running_server(stack, log=tmp_path / "log", **variables),
    ):
        pass

    assert "Traceback" not in (tmp_path / "log").read_text()
