"""What resolvers are given beside their arguments."""

import strawberry

from resolvers.context import Context

type Info = strawberry.Info[Context, None]
