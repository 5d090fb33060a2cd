"""The lease that makes one of several API processes the keeper."""

import asyncio
from uuid import uuid4

from db.repositories.leases import LeaseRepository
from services.errors import ServiceUnavailableError
from services.transactions import Transactions


class Lease:
    """A lease of one name, for this object alone; `seconds` is how long it lasts unrenewed."""

    def __init__(self, transactions: Transactions, name: str, seconds: float = 10.0) -> None:
        self._transactions = transactions
        self._name = name
        self._holder = uuid4().hex
        self.seconds = seconds

    @property
    def renewal_seconds(self) -> float:
        """How often to renew it."""
        return self.seconds / 3

    async def acquire(self) -> bool | None:
        """Take or renew it; False where another holds it, None where nobody knows."""
        try:
            async with (
                asyncio.timeout(self.renewal_seconds),
                self._transactions.background() as session,
            ):
                return await LeaseRepository(session).acquire(
                    self._name, self._holder, self.seconds
                )
        except (ServiceUnavailableError, TimeoutError):
            return None

    async def release(self) -> None:
        """Give it back, so that the next one need not wait; it runs out otherwise."""
        try:
            async with (
                asyncio.timeout(self.renewal_seconds),
                self._transactions.background() as session,
            ):
                await LeaseRepository(session).release(self._name, self._holder)
        except (ServiceUnavailableError, TimeoutError):
            return
