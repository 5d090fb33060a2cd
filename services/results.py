"""Display data and code errors as the JSON bytes in which records keep them."""

import json
from collections.abc import Sequence

from services.executor.messages import CodeError, DisplayData


def encode_results(results: Sequence[DisplayData]) -> bytes:
    """Return JSON that is all ASCII, so that NUL and half surrogate pairs survive."""
    return json.dumps(
        [
            {"bundle": each.bundle, "isResult": each.is_result, "displayId": each.display_id}
            for each in results
        ]
    ).encode()


def decode_results(encoded: bytes) -> tuple[DisplayData, ...]:
    """Return what `encode_results` was given."""
    return tuple(
        DisplayData(bundle=each["bundle"], is_result=each["isResult"], display_id=each["displayId"])
        for each in json.loads(encoded)
    )


def encode_error(error: CodeError) -> bytes:
    """Return JSON that is all ASCII."""
    return json.dumps(
        {"name": error.name, "value": error.value, "traceback": error.traceback}
    ).encode()


def decode_error(encoded: bytes) -> CodeError:
    """Return what `encode_error` was given."""
    return CodeError(**json.loads(encoded))
