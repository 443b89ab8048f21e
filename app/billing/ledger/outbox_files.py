"""One process's usage rows on disk, for whoever outlives it. outbox -> [outbox_files] -> the state folder.

`NAME.rows` is a queue of rows that wait for the ledger: appended to, read from its head, cut to nothing when all of
it is settled. The process holds a lock on it for as long as it lives, so a file that can be locked is a dead one's.
`NAME.calls` holds the rows of the calls on their way, replaced as a whole, and belongs to the `.rows` beside it.
A row is a JSON line, money as strings. Files hold facts, never text of a call, and are their owner's alone.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from itertools import islice
from pathlib import Path

import orjson

from app.core.ports import UsageRow

log = logging.getLogger(__name__)
BATCH = 256
"""Rows that are read, and settled, at once."""
_NAMES = tuple(field.name for field in fields(UsageRow))
_MONEY = frozenset(field.name for field in fields(UsageRow) if field.type == "Decimal")


class Files:
    """The files of one process. Blocking, and for one thread at a time; every method may raise OSError.

    waiting: rows in the queue. Nothing is made in the folder before there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting = 0
        self._rows = folder / f"{os.getpid()}-{secrets.token_hex(4)}.rows"
        self._calls = self._rows.with_suffix(".calls")
        self._fd: int | None = None
        self._head = 0  # bytes of the queue that are settled
        self._written = False

    def snapshot(self, lines: Sequence[bytes]) -> None:
        """Replace what is known of the calls on their way: wholly, or not at all."""
        if not lines and not self._written:
            return
        self._claim()
        if lines:
            draft = self._calls.with_suffix(".draft")
            fd = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            try:
                _write(fd, b"".join(lines))
            finally:
                os.close(fd)
            draft.replace(self._calls)
        else:
            self._calls.unlink(missing_ok=True)
        self._written = bool(lines)

    def append(self, lines: Sequence[bytes]) -> int:
        """Queue the rows: all of them, or none. How many wait now."""
        fd = self._claim()
        end = os.fstat(fd).st_size
        try:
            _write(fd, b"".join(lines))
        except OSError:
            os.ftruncate(fd, end)  # half a line would spoil the next one
            raise
        self.waiting += len(lines)
        return self.waiting

    def head(self) -> list[bytes]:
        """The oldest rows that wait."""
        if self._fd is None:
            return []
        with open(self._fd, "rb", closefd=False) as reader:
            reader.seek(self._head)
            return list(islice(reader, BATCH))

    def advance(self, lines: Sequence[bytes], again: Sequence[bytes]) -> int:
        """Forget the rows that `head` gave, and queue those to try `again` behind all others. How many are gone."""
        if again:
            self.append(again)
        self._head += sum(map(len, lines))
        self.waiting -= len(lines)
        if not self.waiting and self._fd is not None:
            os.ftruncate(self._fd, 0)
            self._head = 0
        return len(lines) - len(again)

    def adopt(self) -> int:
        """Take over the rows of processes that are gone; how many. Of two that try, one does."""
        before, failed = self.waiting, None
        for rows in sorted(self.folder.glob("*.rows")):
            try:
                if rows != self._rows:
                    self._take(rows)
            except OSError as error:  # another user's file, say; it must not keep us from the rest
                failed = error
        if failed:
            raise failed
        return self.waiting - before

    def release(self) -> None:
        """Let go of the files: gone when they are empty, else for the next process to take over."""
        if self._fd is None:
            return
        if not self.waiting and not self._written:
            self._rows.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd, self._head, self.waiting, self._written = None, 0, 0, False

    def _claim(self) -> int:
        while self._fd is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._rows, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, self._rows):
                self._fd = fd
            else:  # taken for a dead one's before it was locked, and removed
                os.close(fd)
        return self._fd

    def _take(self, rows: Path) -> None:
        try:
            fd = os.open(rows, os.O_RDWR)
        except FileNotFoundError:
            return  # another process was faster
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, rows):
                calls = rows.with_suffix(".calls")
                for file in (rows, calls):  # a call's final row before its last snapshot: the first one counts
                    self._copy(file)
                for file in (calls.with_suffix(".draft"), calls, rows):
                    file.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # it lives
        finally:
            os.close(fd)

    def _copy(self, file: Path) -> None:
        if not file.exists():
            return
        with file.open("rb") as reader:
            while lines := list(islice(reader, BATCH)):
                whole = [line for line in lines if line.endswith(b"\n")]
                if torn := lines[len(whole) :]:
                    log.error("%s ends within a usage row, its process died writing it: %r", file, torn)
                self.append(whole)


def encode(row: UsageRow) -> bytes:
    """The row as a line."""
    plain = {name: getattr(row, name) for name in _NAMES}
    try:
        return orjson.dumps(plain, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a lone surrogate from a client's JSON
        return json.dumps(plain, default=_plain, skipkeys=True).encode() + b"\n"


def decode(line: bytes) -> UsageRow | None:
    """The row of a line; None, and the line in the log, for one that is not a row. Fields unknown here are left out."""
    try:
        plain = json.loads(line)
        known = {name: plain[name] for name in _NAMES if name in plain}
        return UsageRow(**known | {name: Decimal(known[name]) for name in _MONEY if name in known})
    except (ValueError, TypeError, ArithmeticError):
        log.critical("usage row not readable, left out: %r", line)
        return None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else str(value)


def _write(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
    os.fdatasync(fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
