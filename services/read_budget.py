"""How many bytes of code, output and results one operation may read."""

from db.repositories.executions import PageSize
from services.errors import PayloadTooLargeError
from services.limits import MAX_READ_BYTES, MIB


class ReadBudget:
    """Shared by all pages of an operation, however many aliases or sandboxes they are under."""

    def __init__(self, most_bytes: int = MAX_READ_BYTES) -> None:
        self._most_bytes = most_bytes
        self._taken = 0

    def take(self, size: PageSize) -> None:
        """Take a page's bytes; the first execution of an operation always passes.

        Raises `PayloadTooLargeError`.
        """
        self._taken += size.large_bytes
        alone = self._taken == size.large_bytes and size.executions == 1
        if self._taken > self._most_bytes and not alone:
            raise PayloadTooLargeError(
                f"Code, output and results of the executions asked for are"
                f" {self._taken / MIB:.1f} MiB, and an operation reads {self._most_bytes // MIB}:"
                " ask for fewer with `first`, or without `code`, `stdout`, `stderr` and"
                " `results`.",
                field="first",
                limitBytes=self._most_bytes,
            )
