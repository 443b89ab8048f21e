"""What can go wrong with the database, each as a sentence that names the fix. Raised by every module here."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from app.core.refusals import LedgerError

OURS = 0o600
# What the database, its driver or its network may raise.
FAULTS = (DBAPIError, OSError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError)
# PostgreSQL: serialization failure, deadlock: another attempt on the same connection is right.
_CLASHES = frozenset({"40001", "40P01"})


def clashed(error: BaseException) -> bool:
    """Whether the database rolled back in favour of another writer: trying again at once is right."""
    return getattr(_cause(error), "sqlstate", None) in _CLASHES


def gone(error: BaseException) -> bool:
    """Whether the connection failed rather than the statement: another connection may work."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = _cause(error)
    state = str(getattr(cause, "sqlstate", None) or "")
    return isinstance(cause, OSError) or state.startswith(("08", "57P", "53300"))  # TimeoutError is an OSError


def outage(error: BaseException) -> bool:
    """Whether the whole database is at fault, so that no other statement would do better."""
    return gone(error) or clashed(error) or _sqlite_fault(error) is not None


def explain(error: BaseException, url: URL) -> LedgerError:
    """Return the error as a sentence for the operator. Never holds the password of `url`."""
    where = url.render_as_string(hide_password=True)
    # SQLAlchemy's own text repeats the statement and its values, which do not belong in a log.
    said = (str(_cause(error)) or type(error).__name__).splitlines()[0]
    if fault := _sqlite_fault(error):
        return LedgerError(fault.format(path=url.database), outage=True)
    if getattr(_cause(error), "sqlstate", None) == "53100":
        return LedgerError(f"The disk of the ledger's database {where} is full. Free space there.", outage=True)
    if gone(error):
        return LedgerError(f"The ledger's database {where} does not answer ({said}). Is it running?", outage=True)
    return LedgerError(f"The ledger's database {where} refused: {said}", outage=True)


def _cause(error: BaseException) -> BaseException:
    # what the driver said; while connecting, it comes without SQLAlchemy around it
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


_FAULTS = {
    sqlite3.SQLITE_BUSY: "The ledger's database {path} stayed locked by another process. Does something hold a "
    "transaction open (a shell, a backup)? With many gateways, use PostgreSQL.",
    sqlite3.SQLITE_FULL: "The disk that holds the ledger's database {path} is full. Free space there.",
    sqlite3.SQLITE_READONLY: "The ledger's database {path} cannot be written. Give this user write access to the "
    "file and its folder.",
    sqlite3.SQLITE_CANTOPEN: "The ledger's database {path} cannot be opened. Give this user access to the file and "
    "its folder, or name another path.",
    sqlite3.SQLITE_IOERR: "The disk failed under the ledger's database {path}. Check the disk and its space.",
    sqlite3.SQLITE_CORRUPT: "The ledger's database {path} is damaged. Restore it from a backup.",
    sqlite3.SQLITE_NOTADB: "The file {path} is no ledger database. Name another path.",
}


def _sqlite_fault(error: BaseException) -> str | None:
    code = getattr(_cause(error), "sqlite_errorcode", None)
    return None if code is None else _FAULTS.get(code & 0xFF)  # the low byte is the primary code


def _keep_private(path: Path) -> None:
    """Give the database's file the mode 0600; SQLite gives those beside it (`-wal`, `-shm`) the same.

    A file that is there is never opened: closing it would drop SQLite's locks. What fails here, opening explains.
    """
    with suppress(OSError):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, OURS))
        except FileExistsError:
            if path.is_file() and path.stat().st_uid == os.getuid():
                for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                    if one.is_file():
                        one.chmod(OURS)


def make_folder(path: Path) -> None:
    """Create the database's folder when missing, and see that the database is for nobody else's eyes.

    Raises LedgerError that names the path and the fix.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"The folder {path.parent} for the ledger's database cannot be created ({error.strerror}). "
            "Create it, give this user write access, or name another path."
        )
        raise LedgerError(msg, outage=True) from error
    _keep_private(path)
