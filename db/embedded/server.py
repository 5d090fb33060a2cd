"""Start and stop the server of one data folder, from any process, any number of times."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.embedded.cluster import Cluster
from db.embedded.places import (
    INSTALLATION,
    ServerUser,
    binaries_dir,
    cluster_dir,
    instance_name,
    make_cluster_dir,
    server_user,
    socket_dir,
)
from db.errors import EmbeddedServerError


def start(data_dir: Path) -> str:
    """Start the data folder's server unless it runs, and return its address.

    It is made on the first start, is no child of ours, and goes on when we end. The address
    is kept in `state/postgres.json`. Raises `EmbeddedServerError`.
    """
    with _turn(data_dir) as folder:
        cluster = _locate(folder)
        if not (cluster.data / "PG_VERSION").exists():
            _create(cluster)
        _check_version(cluster)
        if cluster.postmaster() is not None and not cluster.has_socket():
            cluster.stop()
        cluster.start()
        _keep(folder, cluster)
        return cluster.url()


def stop(data_dir: Path) -> None:
    """Stop the data folder's server; its data stays. Raises `EmbeddedServerError`."""
    if not (data_dir / "instance").exists():
        return
    with _turn(data_dir) as folder:
        cluster = _locate(folder)
        cluster.stop()
        _state_path(folder).unlink(missing_ok=True)
        shutil.rmtree(cluster.sockets, ignore_errors=True)


def read_url(data_dir: Path) -> str:
    """Return the address of the server that was started. Raises `EmbeddedServerError`."""
    try:
        url = json.loads(_state_path(data_dir).read_text())["url"]
    except (OSError, ValueError, KeyError) as fault:
        raise EmbeddedServerError(
            f"No database was started for {data_dir}: run `python -m db.embedded start`."
        ) from fault
    return str(url)


def _locate(folder: Path) -> Cluster:
    user: ServerUser = server_user()
    instance = instance_name(folder)
    return Cluster(
        binaries=binaries_dir(user),
        data=cluster_dir(folder, instance, user),
        sockets=socket_dir(instance, user),
        user=user,
    )


def _create(cluster: Cluster) -> None:
    """Make the data beside its place, so that a start that was cut short leaves nothing half."""
    draft = Cluster(
        binaries=cluster.binaries,
        data=cluster.data.with_name("postgres.new"),
        sockets=cluster.sockets,
        user=cluster.user,
    )
    make_cluster_dir(draft.data, draft.user)
    draft.create()
    if cluster.data.exists():
        # Empty, or not ours to remove.
        cluster.data.rmdir()
    draft.data.rename(cluster.data)


def _check_version(cluster: Cluster) -> None:
    have = (cluster.data / "PG_VERSION").read_text().strip()
    if not INSTALLATION.endswith(have):
        raise EmbeddedServerError(
            f"{cluster.data} is of PostgreSQL {have}, not of this package's: use pg_upgrade,"
            " or move the folder away to begin anew."
        )


def _keep(folder: Path, cluster: Cluster) -> None:
    path = _state_path(folder)
    state = {"url": cluster.url(), "data": str(cluster.data), "pid": cluster.postmaster()}
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        json.dump(state, draft)
    Path(draft.name).rename(path)


def _state_path(folder: Path) -> Path:
    return folder / "state" / "postgres.json"


@contextmanager
def _turn(data_dir: Path) -> Iterator[Path]:
    """Let one process at a time start or stop the server."""
    folder = data_dir.resolve()
    state = folder / "state"
    try:
        state.mkdir(parents=True, exist_ok=True)
        with (state / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except OSError as fault:
        raise EmbeddedServerError(f"The embedded database can't be set up: {fault}") from fault
