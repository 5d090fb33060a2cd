"""A package index of the tests' own, in a folder."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


class Index:
    """A package index in a folder."""

    def __init__(self, folder: Path) -> None:
        """Begin with no packages."""
        self._folder = folder
        folder.mkdir()

    @property
    def url(self) -> str:
        """Its address."""
        return self._folder.as_uri()

    def add(
        self,
        name: str,
        version: str,
        files: Mapping[str, bytes] | None = None,
        *,
        needs: Sequence[str] = (),
        tag: str = "py3-none-any",
        scripts: str = "",
        record: str | None = None,
    ) -> Path:
        """Add a wheel with these files, whatever their names, and the metadata it needs."""
        info = f"{name}-{version}.dist-info"
        content = dict(files or {f"{name}.py": f"version = {version!r}\n".encode()})
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {need}" for need in needs]
        content[f"{info}/METADATA"] = "\n".join(lines).encode() + b"\n"
        content[f"{info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        )
        if scripts:
            content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n".encode()
        content[f"{info}/RECORD"] = (
            _record(content, f"{info}/RECORD") if record is None else record.encode()
        )
        folder = self._folder / name.replace("_", "-")
        folder.mkdir(exist_ok=True)
        wheel = folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in content.items():
                archive.writestr(path, data)
        links = "".join(
            f'<a href="{found.name}">{found.name}</a>\n' for found in folder.glob("*.whl")
        )
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        return wheel


def _record(content: Mapping[str, bytes], own: str) -> bytes:
    lines = [f"{own},,"]
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}")
    return "\n".join(lines).encode() + b"\n"
