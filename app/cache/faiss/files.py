"""Where the semantic cache is kept over restarts: numbered files in a folder or an object store.

persistence -> [Place] -> fsspec. `000000000007.snapshot` holds everything up to its number, `000000000008.log` the
changes after it. Files and the folder are their owner's alone (0600, 0700). Blocking; whatever fsspec raises comes
through.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.installation.paths import folder

Kind = Literal["snapshot", "log"]


class PlaceTakenError(OSError):
    """Another process keeps its cache there."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A file's number and what it is."""

    number: int
    kind: Kind

    def __str__(self) -> str:
        return f"{self.number:012d}.{self.kind}"


class Place:
    """url: a folder, any URL that fsspec knows, or `state`: a folder in the state folder."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs: Any = None
        self._path = ""
        self._lock: int | None = None

    @property
    def local(self) -> bool:
        """Whether a file can be written to piece by piece; elsewhere it is there once it is closed."""
        return isinstance(self._fs, LocalFileSystem)

    def open(self) -> None:
        """Make it, and make it this process's where that can be told. Raises PlaceTakenError."""
        self._fs, path = fsspec.core.url_to_fs(str(folder() / "cache") if self.url == "state" else self.url)
        self._path = path.rstrip("/")
        if not self.local:
            self._fs.makedirs(self._path, exist_ok=True)
            return
        Path(self._path).mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._lock is not None:
            return
        lock = os.open(f"{self._path}/.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise PlaceTakenError(f"another process keeps its cache in {self._path}") from error
        self._lock = lock

    def names(self) -> list[Name]:
        """Every file, oldest first."""
        self._fs.invalidate_cache()  # object stores remember their listings
        found = []
        for path in self._fs.ls(self._path, detail=False):
            number, _, kind = path.rpartition("/")[2].partition(".")
            if number.isdigit() and kind in {"snapshot", "log"}:
                found.append(Name(int(number), kind))
        return sorted(found)

    def read(self, name: Name) -> BinaryIO:
        """The file, from its beginning."""
        file: BinaryIO = self._fs.open(f"{self._path}/{name}", "rb")
        return file

    def write(self, name: Name) -> BinaryIO:
        """A new file."""
        path = f"{self._path}/{name}"
        if self.local:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        file: BinaryIO = self._fs.open(path, "wb")
        return file

    def size(self, name: Name) -> int:
        """Its bytes."""
        return int(self._fs.size(f"{self._path}/{name}"))

    def remove(self, name: Name) -> None:
        """Delete the file."""
        self._fs.rm_file(f"{self._path}/{name}")

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
