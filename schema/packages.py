"""Packages that a sandbox can import."""

from typing import Self

import strawberry

from services import entities


@strawberry.type
class Package:
    """The contract's `Package`."""

    name: str
    version: str

    @classmethod
    def of(cls, package: entities.Package) -> Self:
        """Show a distribution."""
        return cls(name=package.name, version=package.version)
