"""Which media type an answer has."""

from collections.abc import Iterator

from starlette.requests import Request

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"
READS = frozenset({"GET", "HEAD"})

_MATCHES = {
    RESPONSE_TYPE: RESPONSE_TYPE,
    JSON_TYPE: JSON_TYPE,
    "application/*": JSON_TYPE,
    "*/*": JSON_TYPE,
}


def accepted(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the types of an Accept header with their parameters, in its order, without `q=0`."""
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        named = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        if quality(named) > 0:
            yield name, named


def negotiate(accept: str | None) -> str | None:
    """Return the best of our types for an Accept header; None where none will do."""
    if not accept:
        return JSON_TYPE
    best: str | None = None
    best_quality = 0.0
    for name, parameters in accepted(accept):
        if name in _MATCHES and quality(parameters) > best_quality:
            best, best_quality = _MATCHES[name], quality(parameters)
    return best


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, rather than a client."""
    return (
        request.method in READS
        and "query" not in request.query_params
        and "text/html" in request.headers.get("accept", "")
    )


def quality(parameters: dict[str, str]) -> float:
    """Return the weight that a type is given (RFC 9110, section 12.4.2); 0 for nonsense."""
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
