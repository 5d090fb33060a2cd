"""Opens all that the application needs, in order, and closes it in reverse."""

import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from app.backend import Backend
from app.caretaker import Caretaker
from app.collector import settled
from app.health import Checks
from app.instance import Instance, database_url, open_instance
from app.key_server import open_signing_keys
from app.logs import adopt_loggers, configure_logs
from app.rates import open_rates
from app.settings import Settings, SettingsError
from db.addresses import parse_address
from db.engine import Database
from db.errors import AddressError, DatabaseError
from resolvers.context import Services
from services.assembly import Assembled, assemble
from services.auth import TokenVerifier
from services.executor.errors import ClusterUnavailableError, ExecutorError
from services.executor.interface import Executor

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_backend(settings: Settings) -> AsyncIterator[Backend]:
    """Open database, executor and services, and keep house beside them.

    Raises `SettingsError` where something is missing that the operator has to provide.
    """
    configure_logs(production=settings.production, level=settings.log_level)
    if settings.sandbox_runtime != "runsc":
        _log.critical("sandboxes_are_not_isolated", runtime=settings.sandbox_runtime)
    if settings.production and settings.guessable_jwt_secret:
        _log.critical(
            "jwt_secret_can_be_guessed", remedy="give SUPABASE_JWT_SECRET 32 bytes or more"
        )
    instance, url = open_instance(settings), database_url(settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(url, settings))
        executor = await _executor(settings, instance, stack)
        assembled = await _services(
            settings, instance, database, executor, stack, _direct_url(url, settings)
        )
        caretaker = Caretaker(url, assembled.keeper, patient=settings.production)
        await stack.enter_async_context(caretaker)
        backend = Backend(
            services=Services(
                sandboxes=assembled.sandboxes,
                executions=assembled.executions,
                pages=assembled.pages,
                packages=assembled.packages,
                files=assembled.files,
            ),
            verifier=await _verifier(settings, instance, stack),
            rates=await stack.enter_async_context(open_rates(settings)),
            readiness=_checks(database, executor, caretaker),
        )
        stack.enter_context(settled())
        yield backend


async def _verifier(settings: Settings, instance: Instance, stack: AsyncExitStack) -> TokenVerifier:
    keys = None
    if settings.supabase_url:
        if settings.production and not settings.supabase_url.startswith("https://"):
            _log.critical("signing_keys_come_unprotected", remedy="give SUPABASE_URL as https://")
        keys = await stack.enter_async_context(open_signing_keys(settings.supabase_url))
    return TokenVerifier(instance.jwt_secret, keys, settings.token_issuer)


def _database(url: str, settings: Settings) -> Database:
    try:
        return Database(url, pool_size=settings.database_pool_size)
    except AddressError as error:
        raise SettingsError(f"DATABASE_URL: {error}") from error


def _direct_url(url: str, settings: Settings) -> str | None:
    """Return where the server itself answers; None where only a pooler is known."""
    direct = settings.database_direct_url.get_secret_value() or url
    try:
        pooler = parse_address(direct).pooler
    except AddressError as error:
        raise SettingsError(f"DATABASE_DIRECT_URL: {error}") from error
    if pooler:
        _log.info("changes_are_polled", remedy="give DATABASE_DIRECT_URL, past the pooler")
    return None if pooler else direct


async def _executor(settings: Settings, instance: Instance, stack: AsyncExitStack) -> Executor:
    _name_ray_token(settings)
    # Only now: Ray reads how to authenticate when it is imported.
    from app.wiring import cluster_settings  # noqa: PLC0415
    from services.executor.client import RayExecutor  # noqa: PLC0415

    adopt_loggers()
    cluster = cluster_settings(settings, instance)
    try:
        executor = await stack.enter_async_context(RayExecutor(cluster))
    except ClusterUnavailableError as error:
        remedy = "check RAY_ADDRESS" if settings.ray_address else "run `make setup`"
        raise SettingsError(f"{error.message}: {remedy}.") from error
    _take_signals_back()
    return executor


def _take_signals_back() -> None:
    """Install Python's handlers anew: Ray's own, in C++, print a stack at every SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.getsignal(number))


def _name_ray_token(settings: Settings) -> None:
    """Show Ray the local head's token; for another cluster the operator names one."""
    if not settings.ray_address:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(settings.layout.ray_token)


async def _services(
    settings: Settings,
    instance: Instance,
    database: Database,
    executor: Executor,
    stack: AsyncExitStack,
    direct_url: str | None,
) -> Assembled:
    from app.wiring import service_settings  # noqa: PLC0415 - it names Ray's modules too

    told = service_settings(settings, instance)
    return await stack.enter_async_context(
        assemble(database, executor, told, instance.secret_key, direct_url=direct_url)
    )


def _checks(database: Database, executor: Executor, caretaker: Caretaker) -> Checks:
    async def check_database() -> Sequence[str]:
        try:
            await database.ping()
        except DatabaseError as error:
            return (str(error),)
        return await caretaker.problems()

    async def check_ray() -> Sequence[str]:
        try:
            await executor.ping()
        except ExecutorError as error:
            return (error.message,)
        return ()

    async def check_nodes() -> Sequence[str]:
        try:
            return await executor.problems()
        except ExecutorError as error:
            return (error.message,)

    return Checks({"database": check_database, "ray": check_ray, "sandboxes": check_nodes})
