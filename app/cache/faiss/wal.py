"""Write a semantic cache's files: changes to the log, everything to a snapshot.  persistence -> [Writer] -> Place.

Blocking, for one thread; whatever fsspec raises comes through.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import BinaryIO

from app.cache.faiss.files import Name, Place
from app.cache.faiss.records import FORMAT, Change, End, EntryRecord, Evidence, Header, Record, frame
from app.installation.secrets import Sealer

COMPACT = 1 << 24  # bytes of log, at least, from which a snapshot replaces it; and as much as the last snapshot has
PARTS = 256  # or so many files
ABOUT = "semantic cache"


class Writer:
    """dim, encoder: whose vectors these are. sealer: None writes in the clear. compact: as COMPACT."""

    def __init__(self, place: Place, dim: int, encoder: str, sealer: Sealer | None) -> None:
        self.compact = COMPACT
        self._place = place
        self._written_by = (FORMAT, dim, encoder)
        self._sealer = sealer
        self._number = 0
        self._segment: BinaryIO | None = None
        self._segments = self._logged = self._whole = 0  # files and bytes of log, bytes of the last snapshot

    def after(self, names: list[Name]) -> None:
        """Go on after these files."""
        logs = [name for name in names if name.kind == "log"]
        snapshots = [name for name in names if name.kind == "snapshot"]
        self._number = max((name.number for name in names), default=0)
        self._segments, self._logged = len(logs), sum(map(self._place.size, logs))
        self._whole = max(map(self._place.size, snapshots), default=0)

    @property
    def long(self) -> bool:
        """Whether the log should give way to a snapshot."""
        return self._logged > max(self.compact, self._whole) or self._segments > PARTS

    def log(self, changes: Iterable[Change]) -> None:
        """Write them. On a local disk they are there at once, elsewhere when the segment is closed, so it is."""
        for change in changes:
            if self._segment is None:
                self._segments += 1
                self._segment = self._begin("log", 0)[0]
            self._logged += self._segment.write(self._framed(change))
        if self._segment is not None and self._place.local:
            self._segment.flush()
        else:
            self.shut()

    def snapshot(self, serial: int, everything: Iterable[EntryRecord | Evidence]) -> None:
        """Write all of it, then delete every older file. Changes may be logged meanwhile: they come after it."""
        self.shut()
        older = self._place.names()
        self._whole = self._logged = self._segments = entries = 0
        file, name = self._begin("snapshot", serial)
        try:
            for record in everything:
                entries += isinstance(record, EntryRecord)
                self._whole += file.write(self._framed(record))
            file.write(self._framed(End(entries)))
            file.close()
        except BaseException:
            self._abandon(file, name)
            raise
        for old in older:
            if old.number < name.number:
                self._place.remove(old)

    def shut(self) -> None:
        """End the segment: after a failed write its last record may be torn, and nothing after it would be read."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _begin(self, kind: str, serial: int) -> tuple[BinaryIO, Name]:
        self._number += 1
        name = Name(self._number, "log" if kind == "log" else "snapshot")
        file = self._place.write(name)
        file.write(self._framed(Header(*self._written_by, serial)))
        return file, name

    def _abandon(self, file: BinaryIO, name: Name) -> None:
        """Half a snapshot is worth nothing, and where there is no room it takes what is left."""
        for work in (file.close, lambda: self._place.remove(name)):
            with contextlib.suppress(Exception):
                work()

    def _framed(self, record: Record) -> bytes:
        sealer = self._sealer
        return frame(record, (lambda data: sealer.seal(data, ABOUT)) if sealer else None)
