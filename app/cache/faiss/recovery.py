"""What the files of a semantic cache come to: the last whole snapshot, and the changes after it.

persistence -> [recovery] -> Place. Files of another encoder, format or secret are passed over, with a warning.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from app.cache.faiss.entries import ALL, OWN
from app.cache.faiss.files import Name, Place
from app.cache.faiss.keys import belonging, one_blank, tenant_of
from app.cache.faiss.records import (
    FORMAT,
    Change,
    End,
    EntryRecord,
    Evidence,
    Forgotten,
    Header,
    Learned,
    Record,
    Tried,
    records,
)
from app.installation.secrets import SealError

log = logging.getLogger(__name__)
Unseal = Callable[[bytes], bytes] | None


@dataclass
class Replay:
    """entries: by (partition, key), expired ones too. serial: the last change.

    odd: some file could not be read: a new snapshot should take its place.
    """

    entries: dict[tuple[str, str], EntryRecord] = field(default_factory=dict)
    evidence: dict[str, Tried] = field(default_factory=dict)
    serial: int = 0
    odd: bool = False

    def apply(self, record: Change) -> None:
        """A change that came after all that is here."""
        self.serial = max(self.serial, record.serial)
        if isinstance(record, EntryRecord):
            self._put(record)
        elif isinstance(record, Learned):
            self._learn(record)
        else:
            self._forget(record)

    def _put(self, kept: EntryRecord) -> None:
        key = kept.partition, one_blank(kept.question)
        self.entries.pop(key, None)  # stored again: the youngest now
        self.entries[key] = kept

    def _learn(self, learned: Learned) -> None:
        pair = learned.score, learned.right
        tenant = tenant_of(learned.partition)
        self.evidence[tenant] = (*self.evidence.get(tenant, ()), pair)[-ALL:]
        key = learned.partition, one_blank(learned.question)
        kept = self.entries.get(key)
        if kept and kept.serial < learned.serial:  # a snapshot's entry may have been copied after it
            self.entries[key] = replace(kept, tried=(*kept.tried, pair)[-OWN:])

    def _forget(self, gone: Forgotten) -> None:
        belongs = belonging(gone.tenant, gone.model, gone.version)
        self.entries = {key: kept for key, kept in self.entries.items() if not belongs(kept.partition)}
        if gone.model is None and gone.version is None:
            self.evidence = {t: e for t, e in self.evidence.items() if gone.tenant not in {None, t}}


def replay(place: Place, names: list[Name], dim: int, encoder: str, unseal: Unseal) -> Replay:
    """Read what is there."""
    reader = _Reader(place, dim, encoder, unseal)
    found, since = Replay(), 0
    for name in reversed([name for name in names if name.kind == "snapshot"]):
        if whole := reader.snapshot(name):
            found, since = whole, name.number
            break
    base = found.serial
    for name in names:
        if name.kind == "log" and name.number > since:
            for record in reader.each(name):
                if isinstance(record, Change) and record.serial > base:
                    found.apply(record)
    found.odd = reader.odd
    return found


class _Reader:
    def __init__(self, place: Place, dim: int, encoder: str, unseal: Unseal) -> None:
        self._place = place
        self._wanted = (FORMAT, dim, encoder)
        self._unseal = unseal
        self.odd = False

    def snapshot(self, name: Name) -> Replay | None:
        """What a snapshot holds; None where it was never finished, or is not ours."""
        made = Replay()
        for record in self.each(name):
            if isinstance(record, Header):
                made.serial = record.serial
            elif isinstance(record, EntryRecord):
                made.entries[record.partition, one_blank(record.question)] = record
            elif isinstance(record, Evidence):
                made.evidence[record.tenant] = record.tried
            elif isinstance(record, End):
                return made if record.entries == len(made.entries) else None
        self.odd = True
        return None

    def each(self, name: Name) -> Iterator[Record]:
        """Its records, the header among them; none where it is not ours."""
        try:
            with closing(self._place.read(name)) as file:
                reading = records(file, self._unseal)
                header = next(reading, None)
                if not isinstance(header, Header):
                    return
                if (header.format, header.dim, header.encoder) != self._wanted:
                    self._pass_over(name, f"it holds vectors of {header.encoder or 'an encoder without a name'}")
                    return
                yield header
                yield from reading
        except SealError:
            self._pass_over(name, "another PENSTOCK_SECRET sealed it")
        except (KeyError, TypeError, ValueError, struct.error):
            self._pass_over(name, "its format is not known")

    def _pass_over(self, name: Name, why: str) -> None:
        if not self.odd:
            log.warning("semantic cache: %s is not read: %s; the cache begins without it", name, why)
        self.odd = True
