"""Packages: what a sandbox can import, and installing more."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial

import structlog

from db.repositories.packages import PackageRepository
from db.repositories.sandboxes import SandboxRepository
from db.tables import SandboxRow
from services.checks import check_sandbox_id, check_seq
from services.entities import (
    ExecutionUpdate,
    Installed,
    Package,
    PackagesToInstall,
    Sandbox,
    SandboxId,
    Viewer,
)
from services.errors import ServiceUnavailableError
from services.execution_checks import check_install
from services.executor.errors import ExecutorError
from services.executor.interface import Executor
from services.executor.messages import Finished, InstalledPackage
from services.ledger import Ledger, pairs_of
from services.read_budget import ReadBudget
from services.runner import Runner
from services.sandbox_rows import is_running
from services.session_turns import SessionTurns
from services.submitter import Order
from services.transactions import Transactions

LIVE_SECONDS = 5.0
"""How long a session may take to say what it has, before the record is asked."""

_log = structlog.get_logger(__name__)


class PackageService:
    """What a viewer does with packages."""

    def __init__(
        self, transactions: Transactions, executor: Executor, runner: Runner, ledger: Ledger
    ) -> None:
        self._transactions = transactions
        self._executor = executor
        self._runner = runner
        self._ledger = ledger

    async def list(self, viewer: Viewer, sandbox_id: SandboxId) -> Sequence[Package]:
        """Return what a sandbox can import, by name: from its session while it runs."""
        async with self._transactions.of(viewer) as session:
            row = await SandboxRepository(session).get(sandbox_id)
            known = await PackageRepository(session).lists([sandbox_id])
        live = None if row is None else await self._live(row)
        return _shown(known[sandbox_id] if live is None else pairs_of(live))

    async def lists(
        self, viewer: Viewer, sandboxes: Sequence[Sandbox], turns: SessionTurns
    ) -> Mapping[SandboxId, Sequence[Package] | BaseException]:
        """Do what `list` does for many sandboxes of the viewer's, in one statement.

        A session that does not answer costs the others nothing: the record is shown of it.
        """
        mine = {each.id: each for each in sandboxes if each.owner_id == viewer.id}
        async with self._transactions.of(viewer) as session:
            known = await PackageRepository(session).lists(mine.keys())
        running = {each.id: each for each in mine.values() if is_running(each)}
        live = await turns.each(running, self._live)
        return {each: _best(live.get(each), known[each]) for each in mine}

    async def install(
        self, viewer: Viewer, wanted: PackagesToInstall, budget: ReadBudget
    ) -> Installed:
        """Install and wait; the packages answered include the new ones.

        Raises what `budget` does, or its own, after that.
        """
        check_seq(wanted.after)
        execution = await self._runner.run(viewer, _order(wanted))
        await self._settle(viewer, execution.sandbox_id)
        budget.take_ended(execution)
        return Installed(execution, await self.list(viewer, execution.sandbox_id))

    async def stream(
        self, viewer: Viewer, wanted: PackagesToInstall
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Install and yield the installer's events; at the last, the packages are recorded."""
        after = check_seq(wanted.after)
        sandbox_id = check_sandbox_id(wanted.sandbox_id)
        async with aclosing(self._runner.stream(viewer, _order(wanted), after)) as updates:
            async for update in updates:
                if isinstance(update.event, Finished):
                    await self._settle(viewer, sandbox_id)
                yield update

    async def _settle(self, viewer: Viewer, sandbox_id: SandboxId) -> None:
        """Record what the session has, ahead of the recorder, as far as that goes."""
        async with self._transactions.of(viewer) as session:
            row = await SandboxRepository(session).get(sandbox_id)
        if row is None:
            return
        try:
            await self._ledger.settle_packages(row, self._live)
        except ServiceUnavailableError:
            _log.warning("packages not settled", sandbox=str(sandbox_id))  # the recorder will

    async def _live(self, sandbox: Sandbox | SandboxRow) -> Sequence[InstalledPackage] | None:
        """Ask the session; None where there is none, or where it does not answer."""
        if not is_running(sandbox) or sandbox.session_id is None:
            return None
        try:
            async with asyncio.timeout(LIVE_SECONDS):
                state = await self._executor.state(sandbox.session_id)
        except (ExecutorError, TimeoutError):
            return None
        return state.packages


def _best(
    live: Sequence[InstalledPackage] | BaseException | None, known: Sequence[tuple[str, str]]
) -> Sequence[Package] | BaseException:
    """Choose what a session says, or the record where it has not said, or not had its turn."""
    if live is None or isinstance(live, ServiceUnavailableError):
        return _shown(known)
    return live if isinstance(live, BaseException) else _shown(pairs_of(live))


def _shown(pairs: Sequence[tuple[str, str]]) -> Sequence[Package]:
    return [Package(name, version) for name, version in pairs]


def _order(wanted: PackagesToInstall) -> Order:
    return Order(
        sandbox_id=wanted.sandbox_id,
        client_execution_id=wanted.client_execution_id,
        check=partial(check_install, wanted),
    )
