"""Tokens that have verified: clients send the same one again and again."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from services.entities import Viewer

MOST: Final = 1_000
"""Those used last. With their claims they take some 30 MB, were each as large as it may be."""


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What a token says, and the key that it was verified under."""

    viewer: Viewer
    key_id: str | None
    """None for the shared secret."""
    key: object


class KnownTokens:
    """Good ones alone: what is refused is looked at again each time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, KnownToken] = OrderedDict()

    def get(self, token: str) -> KnownToken | None:
        """Return what is known of a token, the last of all to be forgotten now."""
        found = self._known.get(token)
        if found is not None:
            self._known.move_to_end(token)
        return found

    def put(self, token: str, known: KnownToken) -> None:
        """Keep a token that has just been verified."""
        self._known[token] = known
        self._known.move_to_end(token)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, token: str) -> None:
        """Keep it no longer."""
        self._known.pop(token, None)
