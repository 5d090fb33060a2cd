"""The lock files, and the bootstrap's own needs."""

import ast
import sys
from pathlib import Path

from ops import requirements
from ops.layout import REPOSITORY

SYNTAX = (3, 9)


def test_locks_name_no_host() -> None:
    """No lock file says where packages come from."""
    assert requirements.addresses() == []


def test_npms_locks_name_no_host() -> None:
    """Nor do npm's: hashes are enough, and each machine asks its own registry."""
    locks = [
        path
        for folder in ("examples", "tests", "web")
        for path in (REPOSITORY / folder).rglob("package-lock.json")
        if "node_modules" not in path.parts
    ]

    assert len(locks) == 5
    assert [str(path) for path in locks if '"resolved":' in path.read_text()] == []


def test_an_address_is_found(tmp_path: Path) -> None:
    """A lock that was made with an index in it is reported by its line."""
    for name in requirements.LOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a==1\n")
    (tmp_path / "requirements.lock").write_text("a==1\n--index-url https://x.example/simple\n")

    assert requirements.addresses(tmp_path) == ["requirements.lock:2"]


def test_every_requirement_has_a_hash() -> None:
    """Nothing is installed that was not the same when it was resolved."""
    for name in requirements.LOCKS:
        blocks = (REPOSITORY / name).read_text().replace("\\\n", " ").splitlines()
        for block in blocks:
            assert "--hash=sha256:" in block, (name, block)


def test_the_bootstrap_needs_only_an_old_python() -> None:
    """`ops` imports the standard library and itself, in a syntax that Python 3.9 reads."""
    for path in (REPOSITORY / "ops").glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=SYNTAX)
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "ops"}, (path, name)
