"""How many connections each user has open in this process: websockets and streams."""

from collections import Counter

from services.entities import UserId


class Connections:
    """Counts; a user's place is taken once and given back once."""

    def __init__(self, limit: int) -> None:
        """Let each user have `limit`."""
        self.limit = limit
        self._open: Counter[UserId] = Counter()

    def take(self, user: UserId) -> bool:
        """Take a place; False where the user has all already."""
        if self._open[user] >= self.limit:
            return False
        self._open[user] += 1
        return True

    def give_back(self, user: UserId) -> None:
        """Give a place back that was taken."""
        self._open[user] -= 1
        if self._open[user] <= 0:
            del self._open[user]
