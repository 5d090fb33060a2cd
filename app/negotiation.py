"""Which media type an answer has."""

from starlette.requests import Request

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"

_MATCHES = {
    RESPONSE_TYPE: RESPONSE_TYPE,
    JSON_TYPE: JSON_TYPE,
    "application/*": JSON_TYPE,
    "*/*": JSON_TYPE,
}


def negotiate(accept: str | None) -> str | None:
    """Return the best of our types for an Accept header; None where none will do."""
    if not accept:
        return JSON_TYPE
    best: str | None = None
    best_quality = 0.0
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = _quality(parameters)
        if name in _MATCHES and quality > best_quality:
            best, best_quality = _MATCHES[name], quality
    return best


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, rather than a client."""
    return (
        request.method == "GET"
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
