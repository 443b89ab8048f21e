"""A real PostgreSQL for the tests: its own cluster in a temporary folder, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

INSTALL = (
    "PostgreSQL is needed for this test, and `initdb` was found neither on PATH nor in /usr/lib/postgresql. "
    "Install it: `apt-get install postgresql` (Debian, Ubuntu), `brew install postgresql` (macOS)."
)


@contextlib.contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """Yield the URL of a fresh, empty PostgreSQL; stop and remove it afterwards. durable: with fsync."""
    binaries = _binaries()
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    if user:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)

    def call(program: str, *args: str) -> None:
        group = pwd.getpwnam(user).pw_gid if user else None
        command = [str(binaries / program), "--pgdata", str(folder / "data"), *args]
        # to a file: the server keeps what it inherits open, and a pipe would never end
        with (folder / "calls.log").open("a+") as log:
            done = subprocess.run(
                command, user=user, group=group, extra_groups=[] if user else None, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=folder, check=False, timeout=120,
            )  # fmt: skip
            log.seek(0)
            assert done.returncode == 0, f"{program} failed:\n{log.read()}"

    try:
        call("initdb", "--auth", "trust", "--username", "penstock", "--encoding", "UTF8", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        fsync = "on" if durable else "off"
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync={fsync}"
        call("pg_ctl", "--wait", "--log", str(folder / "server.log"), "--options", options, "start")
        try:
            yield f"postgresql://penstock@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "--wait", "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """Yield the URL of an empty database on the server that `url` names; drop it afterwards."""
    to_server = ["--maintenance-db", url]
    subprocess.run([str(_binaries() / "createdb"), *to_server, name], check=True, timeout=60)
    try:
        yield f"{url.removesuffix('/postgres')}/{name}"
    finally:
        subprocess.run([str(_binaries() / "dropdb"), "--force", *to_server, name], check=True, timeout=60)


def _binaries() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent  # `initdb` looks for `postgres` beside itself
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        raise RuntimeError(INSTALL)
    return folders[-1].parent


def _unprivileged() -> str | None:
    """The user to run as: PostgreSQL refuses root. None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
