"""The embedded database is for its owner's eyes alone, wherever it lies."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

from app.db.database import connect, parse


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_its_files_are_readable_by_nobody_else_also_in_a_folder_that_others_may_enter(tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o755)
    database = connect(parse(f"sqlite:///{tmp_path}/ledger.db"), 1)
    await database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (a INTEGER)"))
    assert {0o600} == modes(tmp_path)
    await database.close()


async def test_one_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    await asyncio.to_thread(file.touch, 0o644)
    await connect(parse(f"sqlite:///{file}"), 1).close()
    assert {0o600} == modes(tmp_path)
