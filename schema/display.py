"""What code shows: mime bundles, and errors."""

# mypy: disable-error-code="untyped-decorator"
# (Strawberry types its decorators as Any where they take arguments.)

import binascii
from typing import Self

import strawberry

from schema.answer_budget import answer_budget
from schema.scalars import JSON, Base64
from services.executor import messages

PLAIN = "text/plain"


@strawberry.type
class CodeError:
    """The contract's `CodeError`."""

    name: str = strawberry.field(description="The exception's class, as `ValueError`.")
    value: str
    traceback: str = strawberry.field(description="Plain text, no terminal escapes.")

    @classmethod
    def of(cls, error: messages.CodeError) -> Self:
        """Show an exception of the code."""
        return cls(name=error.name, value=error.value, traceback=error.traceback)


@strawberry.type
class DisplayData:
    """The contract's `DisplayData`."""

    data: strawberry.Private[messages.DisplayData]
    is_result: bool = strawberry.field(
        description=(
            "The value of the cell's last expression, rather than something displayed on the way."
        )
    )
    display_id: str | None = strawberry.field(
        description=(
            "Set by display handles; a later output with the same id replaces the earlier one."
        )
    )

    @classmethod
    def of(cls, data: messages.DisplayData) -> Self:
        """Show a mime bundle."""
        return cls(data=data, is_result=data.is_result, display_id=data.display_id)

    def _text(self, mime: str) -> str | None:
        value = self.data.bundle.get(mime)
        return value if isinstance(value, str) else None

    def _bytes(self, mime: str) -> Base64 | None:
        # Code may show anything under any mime type: what is no base64 stays in `bundle` alone.
        text = self._text(mime)
        if text is not None:
            answer_budget.get().require_room(len(text))
        try:
            return None if text is None else Base64(binascii.a2b_base64(text))
        except ValueError:
            return None

    @strawberry.field
    def text(self) -> str | None:
        """Read `text/plain`."""
        return self._text(PLAIN)

    @strawberry.field
    def html(self) -> str | None:
        """Read `text/html`."""
        return self._text("text/html")

    @strawberry.field
    def markdown(self) -> str | None:
        """Read `text/markdown`."""
        return self._text("text/markdown")

    @strawberry.field
    def latex(self) -> str | None:
        """Read `text/latex`."""
        return self._text("text/latex")

    @strawberry.field
    def svg(self) -> str | None:
        """Read `image/svg+xml`."""
        return self._text("image/svg+xml")

    @strawberry.field
    def png(self) -> Base64 | None:
        """Read `image/png`."""
        return self._bytes("image/png")

    @strawberry.field
    def jpeg(self) -> Base64 | None:
        """Read `image/jpeg`."""
        return self._bytes("image/jpeg")

    @strawberry.field
    def json(self) -> JSON | None:
        """Read `application/json`."""
        value = self.data.bundle.get("application/json")
        return None if value is None else JSON(value)

    @strawberry.field
    def javascript(self) -> str | None:
        """Read `application/javascript`."""
        return self._text("application/javascript")

    @strawberry.field(description="The mime types present, `text/plain` first where present.")
    def formats(self) -> list[str]:
        """List the mime types."""
        return sorted(self.data.bundle, key=lambda mime: (mime != PLAIN, mime))

    @strawberry.field(description="Every mime type with its value, the ones above included.")
    def bundle(self) -> JSON:
        """Hand out the bundle as it is."""
        return JSON(self.data.bundle)
