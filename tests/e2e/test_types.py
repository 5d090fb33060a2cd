"""TypeScript made from the committed schema, as a frontend's build makes it."""

import os
from pathlib import Path

from ops.layout import REPOSITORY
from tests.support import node

SECONDS = 120.0


async def test_generated_types_compile(tmp_path: Path) -> None:
    """A page compiles strictly against the types of graphql-codegen; what misuses them does not."""
    folder = node.prepare(REPOSITORY / "tests" / "types", tmp_path / "types")
    environment = os.environ | {"SCHEMA": str(REPOSITORY / "schema.graphql")}

    node.run(folder, "generate.mjs", environment)
    compile_page = ("node_modules/.bin/tsc", "--project", ".")
    said = await node.run_beside(folder, compile_page, environment, SECONDS)

    assert said == ""
