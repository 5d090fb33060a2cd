"""Checks of what `executeCode` and `installPackages` take, as one value fit to be run."""

from dataclasses import dataclass

from services.checks import check_encodable, check_seconds
from services.entities import CodeToRun, PackagesToInstall
from services.environment_checks import check_environment
from services.errors import BadUserInputError, PayloadTooLargeError
from services.executor.incoming import whole
from services.executor.messages import ExecuteRequest, ExecutionKind, InstallRequest
from services.limits import DEFAULT_EXECUTION_TIMEOUT_SECONDS, MAX_CODE_BYTES, MAX_INPUT_BYTES
from services.requirements import check_requirements

# The least that is above 0 and still a time.
_SHORTEST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class CodeWork:
    """Code, checked."""

    source: bytes
    timeout_seconds: float
    environment: dict[str, str]
    kind: ExecutionKind = ExecutionKind.CODE

    def request(
        self, execution_id: str, reader_id: str, *, on_record: bool = True
    ) -> ExecuteRequest:
        """Return what the session is asked."""
        return ExecuteRequest(
            execution_id=execution_id,
            code=self.source.decode(),
            timeout_seconds=self.timeout_seconds,
            environment=self.environment,
            reader_id=reader_id,
            on_record=on_record,
        )


@dataclass(frozen=True, slots=True)
class InstallWork:
    """Requirements, checked."""

    requirements: tuple[str, ...]
    kind: ExecutionKind = ExecutionKind.INSTALL

    @property
    def source(self) -> bytes:
        """What the record keeps as the code: a line each."""
        return "\n".join(self.requirements).encode()

    def request(self, execution_id: str, reader_id: str) -> InstallRequest:
        """Return what the session is asked."""
        return InstallRequest(
            execution_id=execution_id, requirements=self.requirements, reader_id=reader_id
        )


Work = CodeWork | InstallWork


def check_code(wanted: CodeToRun, longest_seconds: float) -> CodeWork:
    """Return the work. Raises `BadUserInputError` and `PayloadTooLargeError`.

    Half a surrogate pair, which an editor may leave, becomes U+FFFD as everywhere else.
    """
    source = _bounded(whole(wanted.code), "code", MAX_CODE_BYTES)
    timeout = wanted.timeout_seconds
    if timeout is None:
        timeout = min(DEFAULT_EXECUTION_TIMEOUT_SECONDS, longest_seconds)
    if timeout == 0:
        raise BadUserInputError(
            "`timeoutSeconds` is 0: send more, or leave it out.", field="timeoutSeconds"
        )
    check_seconds(timeout, "timeoutSeconds", shortest=_SHORTEST_SECONDS, longest=longest_seconds)
    environment = check_environment(wanted.environment) if wanted.environment else {}
    return CodeWork(source, float(timeout), environment)


def check_install(wanted: PackagesToInstall) -> InstallWork:
    """Return the work. Raises `BadUserInputError`."""
    return InstallWork(check_requirements(wanted.packages))


def check_input_text(text: str) -> str:
    """Return an answer to `input()`. Raises `BadUserInputError` and `PayloadTooLargeError`."""
    _bounded(text, "text", MAX_INPUT_BYTES)
    return text


def _bounded(text: str, field: str, longest: int) -> bytes:
    if len(text) > longest:  # as many bytes at least: not worth encoding
        raise _too_large(field, longest)
    encoded = check_encodable(text, field)
    if len(encoded) > longest:
        raise _too_large(field, longest)
    return encoded


def _too_large(field: str, longest: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"`{field}` is over {longest} bytes: upload a file and read it instead.",
        field=field,
        limitBytes=longest,
    )
