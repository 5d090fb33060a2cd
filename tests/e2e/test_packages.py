"""Packages: installed live without a network inside, listed, kept, and refused."""

import pytest

from tests.support.api import Api, GraphQLError

PACKAGES = "packages { name version }"


async def listed(api: Api, sandbox: str) -> dict[str, str]:
    """List what is installed."""
    found = (await api.sandbox(sandbox, PACKAGES))["packages"]
    return {package["name"]: package["version"] for package in found}


async def test_a_package_imports_at_once_and_stays(api: Api, sandbox: str) -> None:
    """Installed live it imports without a restart, is listed, and survives stop and start."""
    missing = await api.run(sandbox, "state = 'kept'\nimport tabulate")
    installed = await api.install(sandbox, "tabulate==0.9.0")
    code = "import tabulate\nprint(tabulate.__version__)"
    at_once = await api.run(sandbox, f"{code}\nstate")
    while_running = await listed(api, sandbox)
    await api.mutate("stopSandbox", "sandbox { status }", sandboxId=sandbox)
    stopped = await listed(api, sandbox)
    await api.mutate("startSandbox", "sandbox { status }", sandboxId=sandbox)
    later = await api.run(sandbox, code)

    assert missing.error["name"] == "ModuleNotFoundError"
    assert installed.status == "SUCCEEDED"
    assert installed.finished["execution"]["kind"] == "INSTALL"
    assert installed.finished["execution"]["code"] == "tabulate==0.9.0"
    assert "tabulate" in installed.stdout + installed.text("STDERR")
    assert at_once.stdout == later.stdout == "0.9.0\n"
    assert at_once.result == "'kept'"
    assert while_running["tabulate"] == stopped["tabulate"] == "0.9.0"


async def test_the_mutation_answers_all_packages(api: Api, sandbox: str) -> None:
    """`Mutation.installPackages` waits, and lists the new package among the others."""
    payload = await api.mutate(
        "installPackages",
        f"execution {{ status kind exitCode sandbox {{ id }} }} {PACKAGES}",
        sandboxId=sandbox,
        packages=["six", " humanize >= 4 "],
    )
    run = await api.run(sandbox, "import six, humanize\nprint(humanize.intcomma(1234567))")

    assert payload["execution"] == {
        "status": "SUCCEEDED",
        "kind": "INSTALL",
        "exitCode": 0,
        "sandbox": {"id": sandbox},
    }
    assert {"six", "humanize"} <= {package["name"] for package in payload["packages"]}
    assert run.stdout == "1,234,567\n"


async def test_pip_in_code_installs(api: Api, sandbox: str) -> None:
    """`%pip install`, `-q` and `-U` included, does the same; `!pip` says to use it."""
    run = await api.run(
        sandbox, "%pip install -q -U python-slugify\nimport slugify", timeoutSeconds=60
    )
    shell = await api.run(sandbox, "!pip install six")
    works = await api.run(sandbox, "print(slugify.slugify('A b'))")

    assert run.status == "SUCCEEDED", run.events
    assert works.stdout == "a-b\n"
    assert "python-slugify" in await listed(api, sandbox)
    assert "%pip" in shell.stdout + shell.text("STDERR")


async def test_an_install_is_not_queued_behind_code(api: Api, sandbox: str) -> None:
    """Packages come while code runs."""
    async with api.live(sandbox, "input()") as live:
        asked = await live.until("InputRequested")
        installed = await api.install(sandbox, "six")
        await api.mutate("interruptExecution", "execution { id }", executionId=asked["executionId"])
        await live.end()

    assert installed.status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("requirement", "says"),
    [("no-such-package-of-anybody-8271", "no-such-package"), ("numpy==1.24.0", "numpy")],
)
async def test_what_the_resolver_refuses_fails_in_its_words(
    api: Api, sandbox: str, requirement: str, says: str
) -> None:
    """An unknown package, and one without a wheel for this Python, are FAILED with the reason."""
    before = await listed(api, sandbox)
    run = await api.install(sandbox, requirement)
    said = run.stdout + run.text("STDERR") + str(run.finished["execution"]["error"])

    assert run.status == "FAILED"
    assert run.finished["exitCode"] != 0
    assert says in said
    assert run.finished["execution"]["error"]["value"]
    assert await listed(api, sandbox) == before


@pytest.mark.parametrize(
    "packages",
    [
        ["git+https://example.org/x.git"],
        ["https://example.org/x-1-py3-none-any.whl"],
        ["x @ https://example.org/x.whl"],
        ["file:///etc/passwd"],
        ["./x"],
        ["../x"],
        ["/x"],
        ["-r file"],
        ["-rfile"],
        ["--index-url https://example.org"],
        ["--index-url=https://example.org"],
        ["-e ."],
        ["x; rm"],
        ["x; python_version > '3'"],
        ["x && rm"],
        ["$(rm)"],
        ["`rm`"],
        ["x\nrm"],
        ["x\0"],
        ["six", "./x"],
        [""],
        [" "],
        [],
        ["x" * 201],
        ["six"] * 51,
        ["ñumpy"],
        ["numpy=="],
        ["numpy==1.0=="],
    ],
    ids=lambda packages: repr(packages)[:32],
)
async def test_odd_requirements_are_refused_before_anything_runs(
    api: Api, sandbox: str, packages: list[str]
) -> None:
    """Whatever is no name with versions and extras is BAD_USER_INPUT, and makes no execution."""
    count = "executions { totalCount }"
    before = (await api.sandbox(sandbox, count))["executions"]
    with pytest.raises(GraphQLError) as live:
        await api.install(sandbox, *packages)
    with pytest.raises(GraphQLError) as waiting:
        await api.mutate(
            "installPackages", "execution { id }", sandboxId=sandbox, packages=packages
        )

    for refused in (live.value, waiting.value):
        assert (refused.code, refused.extensions["field"]) == ("BAD_USER_INPUT", "packages")
    assert (await api.sandbox(sandbox, count))["executions"] == before
