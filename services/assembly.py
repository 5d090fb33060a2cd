"""Puts the services together over one database and one executor, and closes them in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from db.engine import Database
from db.notices import Notices
from services.asker import Asker
from services.creator import Creator
from services.environment import EnvironmentCipher
from services.execution_pages import ExecutionPages
from services.executions import ExecutionService
from services.executor.interface import Executor
from services.feed import Feed
from services.files import FileService
from services.keeper import LEASE_NAME, Keeper
from services.leases import Lease
from services.ledger import Ledger
from services.lifecycle import Carriers, Lifecycle
from services.losses import Losses
from services.nudges import Nudges
from services.operations import Operations
from services.packages import PackageService
from services.reaper import Reaper
from services.reconciler import Reconciler
from services.recorder import Recorder
from services.resolver import Resolver
from services.runner import Runner
from services.sandboxes import SandboxService
from services.settings import ServiceSettings
from services.settler import Settler
from services.signing import TransferSigner
from services.starter import Starter
from services.stopper import Stopper
from services.submitter import Bounds, Submitter
from services.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Assembled:
    """What viewers reach, and the duties behind it."""

    sandboxes: SandboxService
    executions: ExecutionService
    pages: ExecutionPages
    packages: PackageService
    files: FileService
    recorder: Recorder
    reaper: Reaper
    reconciler: Reconciler
    keeper: Keeper
    """Not entered: whoever serves enters it, after the tables are up to date."""


@dataclass(frozen=True, slots=True)
class _Common:
    """What every part is given."""

    transactions: Transactions
    executor: Executor
    settings: ServiceSettings
    nudges: Nudges
    operations: Operations


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the services share."""

    ledger: Ledger
    stopper: Stopper
    losses: Losses
    settler: Settler
    cipher: EnvironmentCipher
    carriers: Carriers
    feed: Feed
    runner: Runner


@asynccontextmanager
async def assemble(
    database: Database,
    executor: Executor,
    settings: ServiceSettings,
    secret_key: bytes,
    *,
    direct_url: str | None = None,
) -> AsyncIterator[Assembled]:
    """Put the services together; operations under way are waited for at the end.

    `secret_key` has at least 32 bytes and is the same in every process of the instance. At
    `direct_url`, which no pooler may answer, they hear of other processes' changes.
    """
    async with AsyncExitStack() as stack:
        operations = await stack.enter_async_context(Operations())
        nudges = Nudges()
        if direct_url is not None:
            await stack.enter_async_context(Notices(direct_url, database, nudges))
        common = _Common(Transactions(database), executor, settings, nudges, operations)
        parts = _parts(common, secret_key)
        yield _assembled(common, parts, secret_key)


def _parts(common: _Common, secret_key: bytes) -> _Parts:
    transactions, executor, nudges = common.transactions, common.executor, common.nudges
    operations, sessions = common.operations, common.settings.sessions
    ledger = Ledger(transactions)
    cipher = EnvironmentCipher(secret_key)
    stopper = Stopper(transactions, executor, nudges, sessions.stop_timeout_seconds)
    losses = Losses(transactions, executor, stopper, operations, nudges)
    starter = Starter(transactions, executor, stopper, cipher, sessions, nudges)
    resolver = Resolver(transactions, executor, starter, stopper)
    settler = Settler(transactions, executor, ledger, losses)
    bounds = Bounds(
        unended=common.settings.quotas.max_concurrent_executions,
        installs_per_minute=common.settings.installs_per_minute,
    )
    submitter = Submitter(
        transactions, executor, settler, ledger, losses, operations, bounds=bounds
    )
    asker = Asker(transactions, submitter, settler, losses, nudges)
    feed = Feed(executor, asker, ledger, operations)
    return _Parts(
        ledger=ledger,
        stopper=stopper,
        losses=losses,
        settler=settler,
        cipher=cipher,
        carriers=Carriers(starter, stopper, resolver, losses),
        feed=feed,
        runner=Runner(executor, submitter, asker, feed, operations),
    )


def _assembled(common: _Common, parts: _Parts, secret_key: bytes) -> Assembled:
    recorder, reaper, reconciler = _duties(common, parts)
    transactions, executor, settings = common.transactions, common.executor, common.settings
    return Assembled(
        sandboxes=_sandboxes(common, parts),
        executions=ExecutionService(
            transactions,
            executor,
            parts.runner,
            parts.feed,
            parts.settler,
            parts.losses,
            max_timeout_seconds=settings.times.max_execution_timeout_seconds,
        ),
        pages=ExecutionPages(transactions, parts.settler),
        packages=PackageService(transactions, executor, parts.runner, parts.ledger),
        files=FileService(
            transactions,
            executor,
            parts.losses,
            TransferSigner(secret_key, settings.public_url),
            max_transfer_bytes=settings.sessions.limits.upload_bytes,
        ),
        recorder=recorder,
        reaper=reaper,
        reconciler=reconciler,
        keeper=Keeper(
            Lease(transactions, LEASE_NAME, settings.keeper_lease_seconds),
            [reconciler.run, recorder.run, reaper.run],
        ),
    )


def _sandboxes(common: _Common, parts: _Parts) -> SandboxService:
    transactions, settings, nudges = common.transactions, common.settings, common.nudges
    lifecycle = Lifecycle(transactions, common.executor, parts.carriers, settings, nudges)
    return SandboxService(
        transactions,
        common.executor,
        lifecycle=lifecycle,
        creator=Creator(transactions, lifecycle, parts.cipher, settings, nudges),
        losses=parts.losses,
        settler=parts.settler,
        operations=common.operations,
        settings=settings,
        nudges=nudges,
    )


def _duties(common: _Common, parts: _Parts) -> tuple[Recorder, Reaper, Reconciler]:
    transactions, executor = common.transactions, common.executor
    losses, stopper = parts.losses, parts.stopper
    retention_seconds = common.settings.times.retention_seconds
    return (
        Recorder(transactions, executor, losses, stopper, common.operations, common.nudges),
        Reaper(transactions, executor, losses, stopper, common.operations, retention_seconds),
        Reconciler(
            transactions,
            executor,
            resolver=parts.carriers.resolver,
            losses=losses,
            stopper=stopper,
            settler=parts.settler,
            ledger=parts.ledger,
        ),
    )
