"""`python -m app.schema_export`: write the served schema to `schema.graphql`."""

from pathlib import Path

from schema.build import build_schema

EXPORTED = Path(__file__).parent.parent / "schema.graphql"


def served_sdl() -> str:
    """Print the schema as it is served."""
    return f"{build_schema().as_str().rstrip()}\n"


if __name__ == "__main__":
    EXPORTED.write_text(served_sdl(), encoding="utf-8")
