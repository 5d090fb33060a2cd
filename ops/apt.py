"""Debian's packages: installing some, and the mirror that this machine is set to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ops.process import CommandError, run, tool
from ops.say import CannotError, step

SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ONE_LINE = re.compile(
    r"^deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$"
)


def install(*packages: str) -> None:
    """Install with apt-get, without what is only recommended; raises `CannotError`."""
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    apt_get = tool("apt-get")
    if apt_get is None:
        raise CannotError(
            f"This is no Debian, so {', '.join(packages)} can't be installed from here.",
            f"install {', '.join(packages)} by this system's own means.",
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Installing {', '.join(packages)} with apt-get"):
        try:
            run([apt_get, "update", "-q"], env=environment)
            run(
                [apt_get, "install", "-qy", "--no-install-recommends", *packages],
                env=environment,
            )
        except CommandError as error:
            raise CannotError(error.reason, command) from error


def debian_mirror(sources: Path = SOURCES) -> str | None:
    """Address of this machine's Debian mirror, or None where it names none.

    Security and other archives don't count: they don't have all suites.
    """
    for uri, suite, components in _entries(sources):
        if suite.endswith(("-security", "/updates")) or "main" not in components:
            continue
        if re.match(r"(https?|file)://", uri) and uri.rstrip("/").endswith("debian"):
            return uri
    return None


def _entries(sources: Path) -> Iterator[tuple[str, str, Sequence[str]]]:
    folder = sources / "sources.list.d"
    for path in [sources / "sources.list", *sorted(folder.glob("*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else ():
            match = ONE_LINE.match(line.strip())
            if match:
                yield match["uri"], match["suite"], match["components"].split()
    for path in sorted(folder.glob("*.sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            yield from _deb822(paragraph)


def _deb822(paragraph: str) -> Iterator[tuple[str, str, Sequence[str]]]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
            continue
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields[name] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "") == "no":
        return
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield uri, suite, fields.get("components", "").split()


def default_mirror() -> str:
    """The mirror that debootstrap itself goes to."""
    if tool("debootstrap") is None:
        install("debootstrap")
    text = Path(tool("debootstrap") or "debootstrap").read_text()
    match = re.search(r'^DEF_MIRROR="(\S+)"', text, re.MULTILINE)
    if match is None:
        raise CannotError(
            "No Debian mirror is known here.", "name one in /etc/apt/sources.list and try again."
        )
    return match[1]


def mirror() -> str:
    """This machine's Debian mirror, or debootstrap's."""
    return debian_mirror() or default_mirror()


def take_out_of(suite: str, package: str, folder: Path) -> Path:
    """Unpack a package of another suite under `folder`, installing nothing; returns the root.

    apt works on a configuration, lists and a cache of its own, signed by Debian's keyring.
    """
    if not KEYRING.exists():
        install("debian-archive-keyring")
    for name in ("lists/partial", "archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    (folder / "status").touch()
    options = [
        f"Dir::Etc::sourcelist={folder}/sources.list",
        "Dir::Etc::sourceparts=-",
        f"Dir::State={folder}",
        f"Dir::State::lists={folder}/lists",
        f"Dir::State::status={folder}/status",
        f"Dir::Cache={folder}",
        f"Dir::Cache::archives={folder}/archives",
        "APT::Sandbox::User=root",
    ]
    apt_get = ["apt-get", "-q", *(part for option in options for part in ("-o", option))]
    run([*apt_get, "update"])
    run([*apt_get, "download", package], cwd=folder)
    (archive,) = folder.glob("*.deb")
    run(["dpkg-deb", "-x", str(archive), str(folder / "root")])
    return folder / "root"
