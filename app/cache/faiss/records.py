"""What the semantic cache writes down: records, each whole or not there.  persistence -> [records] -> bytes.

A file is frames: length and CRC-32 (little-endian, 32 bits each), then a record, sealed where the store is. The first
record is the Header, and a snapshot's last is End: one without it was not finished. A frame that is cut short or
damaged ends its file: what stands before it counts.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

FORMAT = 1
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_LONGEST = 1 << 28  # bytes: a longer frame is a damaged one
Tried = tuple[tuple[float, bool], ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What the file was written by. serial: the last change that a snapshot holds in any case."""

    format: int
    dim: int
    encoder: str
    serial: int


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """An entry. dies: Unix seconds. serial: the change it came with; in a snapshot, the last it has seen.

    entry: JSON. vector: float32, little-endian.
    """

    serial: int
    partition: str
    question: str
    dies: float
    worth: float
    hits: int
    tried: Tried
    entry: bytes
    vector: bytes


@dataclass(frozen=True, slots=True)
class Learned:
    """A comparison's outcome."""

    serial: int
    partition: str
    question: str
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is of these is gone; None is any."""

    serial: int
    tenant: str | None
    model: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All comparisons of a tenant that count."""

    tenant: str
    tried: Tried


@dataclass(frozen=True, slots=True)
class End:
    """A snapshot is whole. entries: how many it holds."""

    entries: int


Change = EntryRecord | Learned | Forgotten
Record = Header | Change | Evidence | End
_KINDS: dict[bytes, type[Record]] = {
    b"H": Header,
    b"K": EntryRecord,
    b"L": Learned,
    b"F": Forgotten,
    b"E": Evidence,
    b"Z": End,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


def frame(record: Record, seal: Callable[[bytes], bytes] | None = None) -> bytes:
    """The record as it stands in a file."""
    if isinstance(record, EntryRecord):
        head = _json(_fields(record)[:-2])
        rest = _LENGTH.pack(len(record.entry)) + record.entry + record.vector
    else:
        head, rest = _json(_fields(record)), b""
    plain = b"".join((_LETTERS[type(record)], _LENGTH.pack(len(head)), head, rest))
    data = seal(plain) if seal else plain
    return _FRAME.pack(len(data), zlib.crc32(data)) + data


def records(file: BinaryIO, unseal: Callable[[bytes], bytes] | None = None) -> Iterator[Record]:
    """The records of a file up to its end, or up to the first damaged one. Raises what `unseal` does."""
    while len(start := file.read(_FRAME.size)) == _FRAME.size:
        length, crc = _FRAME.unpack(start)
        if length > _LONGEST:
            return
        data = file.read(length)
        if len(data) < length or zlib.crc32(data) != crc:
            return
        yield _record(unseal(data) if unseal else data)


def _json(values: list[Any]) -> bytes:
    # ASCII: a question may hold half a surrogate pair, which UTF-8 has no bytes for
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def _fields(record: Record) -> list[Any]:
    return [getattr(record, name) for name in record.__slots__]


def _record(plain: bytes) -> Record:
    kind = _KINDS[plain[:1]]
    (length,) = _LENGTH.unpack_from(plain, 1)
    at = 1 + _LENGTH.size + length
    head = json.loads(plain[1 + _LENGTH.size : at])
    if kind is Evidence:
        return Evidence(head[0], _tried(head[1]))
    if kind is not EntryRecord:
        return kind(*head)
    (length,) = _LENGTH.unpack_from(plain, at)
    at += _LENGTH.size
    serial, partition, question, dies, worth, hits, tried = head
    entry, vector = plain[at : at + length], plain[at + length :]
    return EntryRecord(serial, partition, question, dies, worth, hits, _tried(tried), entry, vector)


def _tried(pairs: list[list[float]]) -> Tried:
    return tuple((float(score), bool(right)) for score, right in pairs)
