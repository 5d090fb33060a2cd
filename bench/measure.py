"""One run of everything.

Whoever imports this has said in the environment how Ray is authenticated: it reads that when it
is imported.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import docker
import ray

from app.instance import ray_address
from app.settings import Settings
from app.token import DEVELOPER, HOUR_SECONDS, development_token
from bench import environment
from bench.agents import stock_tool
from bench.containers import docker_exec, docker_run, kept_running, labelled, limits, raw_stream
from bench.crowd import at_once
from bench.driven import driven
from bench.figures import Figure, figure, first_outputs, ratios
from bench.floods import many_readers, one_reader
from bench.graphql import bare_subscription, executing, opened, sandbox_of
from bench.processes import actor_of
from bench.queries import queries
from bench.servers import served
from bench.streams import cold_start, flushed
from bench.turns import OURS, Subject, SubjectError, in_turn
from ops.say import CannotError

BARE = "bare Strawberry subscription"
RAW = "raw exec stream"
RUNS = 300
EXEC_RUNS = 60
PEER_RUNS = 200
SLOW_RUNS = 30
COLD_RUNS = 5
PRINT_RUNS = 20
PRINTS = 3000
FLOOD_BYTES = 1_000_000_000
READERS = 10
READERS_BYTES = 100_000_000
CROWDS = (2, 5, 10)
CROWD_ROUNDS = 30
PEERS: Mapping[str, tuple[str, Mapping[str, object], int]] = {
    "Jupyter Kernel Gateway": ("bench.peers.jupyter", {"acknowledge": False}, PEER_RUNS),
    "Jupyter, ACKs at once": ("bench.peers.jupyter", {"acknowledge": True}, PEER_RUNS),
    "llm-sandbox": ("bench.peers.llm_sandbox", {}, SLOW_RUNS),
}
"""The program of each, what it is told beside the common options, and how often it runs."""


@dataclass(slots=True)
class Results:
    """What a run has found."""

    figures: list[Figure] = field(default_factory=list)
    streams: dict[str, dict[str, object]] = field(default_factory=dict)
    queries: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By document and layer."""
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a subject has no figures."""
    names: list[str] = field(default_factory=list)
    """The subjects of the loop."""

    @property
    def first(self) -> dict[str, float]:
        """The subjects' first outputs, p50 in milliseconds."""
        return first_outputs(self.figures, self.names)

    @property
    def ratios(self) -> dict[str, float]:
        """Ours over what is beneath it, and the others over ours."""
        return ratios(self.first, OURS, (BARE, RAW))

    def to_json(self) -> dict[str, object]:
        """Return it as JSON writes it."""
        return {
            "figures": [one.to_json() for one in self.figures],
            "ratios": self.ratios,
            **self.streams,
            "queries": self.queries,
            "versions": self.versions,
            "missing": self.missing,
        }


class Bench:
    """The servers to measure, and what has been found."""

    def __init__(self, settings: Settings, client: docker.DockerClient, url: str, api: int) -> None:
        self.results = Results()
        self._settings = settings
        self._docker = client
        self._url = url
        self._api = api
        self._token = development_token(settings, DEVELOPER, HOUR_SECONDS)
        self._limits = limits(settings)

    async def cold(self) -> None:
        """Measure starts of sandboxes, beside Docker's own of a container."""
        ours = [await cold_start(self._url, self._token) for _ in range(COLD_RUNS)]
        image = self._settings.sandbox_image
        others = [docker_run(self._docker, image, self._limits) for _ in range(COLD_RUNS)]
        self.results.figures += [
            figure("createSandbox(start: true) to RUNNING", [running for running, _ in ours]),
            figure("createSandbox to first output", [first for _, first in ours]),
            figure("docker run of the image under runsc", others),
        ]

    async def first_output(self, bare: str) -> None:
        """Measure all subjects in turn."""
        async with AsyncExitStack() as stack:
            subjects = await self._subjects(stack, bare)
            self.results.names = [subject.name for subject in subjects]
            figures, failed = await in_turn(subjects)
        self.results.figures[:0] = figures
        self.results.missing |= failed

    async def _subjects(self, stack: AsyncExitStack, bare: str) -> list[Subject]:
        image = self._settings.sandbox_image
        client = await stack.enter_async_context(opened(self._url, self._token))
        sandbox = await stack.enter_async_context(sandbox_of(client))
        bare_client = await stack.enter_async_context(opened(bare))
        container = stack.enter_context(kept_running(self._docker, image, self._limits))
        raw = stack.enter_context(raw_stream(self._docker, container))
        stock = stack.enter_context(stock_tool(image))
        return [
            Subject(BARE, bare_subscription(bare_client), RUNS),
            Subject(OURS, executing(client, sandbox), RUNS),
            Subject(RAW, raw, RUNS),
            Subject("docker exec", docker_exec(self._docker, container), EXEC_RUNS),
            Subject("ray-agents execute_code", stock, SLOW_RUNS),
            *await self._peers(stack),
        ]

    async def _peers(self, stack: AsyncExitStack) -> list[Subject]:
        """Start those that can be; note why another can't."""
        try:
            environment.ensure()
        except CannotError as error:
            self.results.missing |= dict.fromkeys(PEERS, str(error))
            return []
        labels = stack.enter_context(labelled(self._docker))
        common: dict[str, object] = {
            "image": self._settings.sandbox_image,
            "folder": "/workspace",
            "limits": self._limits | {"labels": labels},
        }
        found = []
        for name, (module, options, runs) in PEERS.items():
            try:
                version, once = await stack.enter_async_context(
                    driven(module, {**common, **options})
                )
            except SubjectError as error:
                self.results.missing[name] = str(error)
                continue
            self.results.versions[name] = version
            found.append(Subject(name, once, runs))
        return found

    async def output(self) -> None:
        """Measure floods, and the memory that they take."""
        streams = self.results.streams
        async with (
            opened(self._url, self._token) as client,
            sandbox_of(client) as sandbox,
        ):
            streams["flushed prints"] = await flushed(client, sandbox, PRINTS, PRINT_RUNS)
            processes = {"API": self._api, "actor": actor_of(self._docker, sandbox)}
            streams["stream"] = await one_reader(client, sandbox, FLOOD_BYTES, processes)
            streams["ten readers"] = await many_readers(
                self._url, self._token, sandbox, READERS_BYTES, READERS
            )

    async def crowds(self) -> None:
        """Measure several sandboxes at once."""
        self.results.figures += await at_once(self._url, self._token, CROWDS, CROWD_ROUNDS)


async def measure(settings: Settings) -> Results:
    """Measure everything, against servers that are started for it."""
    with (
        _cluster(settings),
        _engine() as client,
        served("main:app", "/ready") as (url, api),
    ):
        bench = Bench(settings, client, url, api)
        with served("bench.bare:app", "/graphql?query={nothing}") as (bare, _):
            await bench.cold()
            await bench.first_output(bare)
        await bench.output()
        await bench.crowds()
        bench.results.queries = await _queries(settings, url, api)
        return bench.results


async def measure_queries(settings: Settings) -> Results:
    """Measure queries alone."""
    with served("main:app", "/ready") as (url, api):
        return Results(queries=await _queries(settings, url, api))


async def _queries(
    settings: Settings, url: str, api: int
) -> dict[str, dict[str, dict[str, float]]]:
    token = development_token(settings, uuid4(), HOUR_SECONDS)
    with served("bench.layers:create", "/plain?query={__typename}", "--factory") as layers:
        return await queries(layers, (url, api), token)


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    ray.init(address=ray_address(settings), log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()
