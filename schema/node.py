"""The `Node` interface."""

import strawberry


@strawberry.interface(description="Anything with an identity. Ids are UUIDs, unique across types.")
class Node:
    """The contract's `Node`."""

    id: strawberry.ID
