"""How large a request may be; what an operator may change stands in `settings`."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_NAME_CHARACTERS: Final = 200
MAX_METADATA_PAIRS: Final = 64
MAX_METADATA_KEY_CHARACTERS: Final = 128
MAX_METADATA_VALUE_CHARACTERS: Final = 2_048

MAX_ENVIRONMENT_VARIABLES: Final = 100
MAX_ENVIRONMENT_NAME_CHARACTERS: Final = 200
MAX_ENVIRONMENT_VALUE_BYTES: Final = 32 * KIB
MAX_ENVIRONMENT_BYTES: Final = 128 * KIB
"""Names and values together: well below the kernel's limit for a new process."""

MAX_KEY_CHARACTERS: Final = 200
"""Of `idempotencyKey` and `clientExecutionId`."""

MAX_CODE_BYTES: Final = MIB
MAX_INPUT_BYTES: Final = MIB
"""One answer to `input()`."""
MAX_SEQ: Final = 2**31 - 1
"""GraphQL's `Int` ends there."""
DEFAULT_EXECUTION_TIMEOUT_SECONDS: Final = 30.0

INLINE_CONTENT_BYTES: Final = MIB
MAX_UPLOAD_BYTES: Final = 32 * MIB
"""By `uploadFile`; larger files go over a signed address."""
TRANSFER_CHUNK_BYTES: Final = 2 * MIB
"""One call to the session while a signed transfer streams."""
MAX_ADDRESS_SECONDS: Final = 3_600
MAX_FILES_PAGE: Final = 1_000

MAX_PAGE: Final = 100
MAX_READ_BYTES: Final = 32 * MIB
"""Code, output and results of a page of executions, as they are kept."""
MAX_ANSWER_BYTES: Final = 64 * MIB
"""Of an operation, or one event: all that may be read, by its own fields and in `bundle` too."""
MAX_TOKEN_BYTES: Final = 8 * KIB
