"""The audit chain: each record is signed over itself and the one before: none can be changed, taken out or moved.

HMAC-SHA256 with the installation's audit key: who can write to the database still cannot forge a record.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

GENESIS = "0" * 64
"""What stands before a chain's first record."""
OPERATOR = "_operator"
"""The chain of what concerns no single tenant."""
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_WIDEST = 1 << 63


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be recorded. data: facts and counts, never text of a call. actor: `admin`, `system`, a key's id."""

    chain: str
    at: float
    kind: str
    actor: str
    subject: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """An Entry in its place. data: the canonical JSON that was signed; at: Unix seconds."""

    chain: str
    seq: int
    at: float
    kind: str
    actor: str
    subject: str
    data: str
    mac: str


def canonical(data: Mapping[str, Any]) -> str:
    """JSON with sorted keys: the same facts, the same bytes. Sets become lists, anything else unknown its text.

    What JSON cannot say (lone surrogates out of a client's JSON, integers beyond 64 bits) is said as nearly as it can.
    """
    try:
        return orjson.dumps(data, default=_plain, option=_OPTIONS).decode()
    except TypeError:  # a call must be recorded, whatever stands in it
        return orjson.dumps(_sayable(data), default=_plain, option=_OPTIONS).decode()


def sign(key: bytes, before: str, record: Record) -> str:
    """The record's mac, hex. before: the mac of the record before it."""
    parts = (before, record.chain, record.seq, repr(record.at), record.kind, record.actor, record.subject, record.data)
    return hmac.new(key, orjson.dumps(parts), hashlib.sha256).hexdigest()


def link(key: bytes, seq: int, before: str, entry: Entry) -> Record:
    """The record after number `seq`, whose mac is `before`."""
    loose = Record(
        entry.chain, seq + 1, float(entry.at), entry.kind, entry.actor, entry.subject, canonical(entry.data), mac=""
    )
    return Record(
        loose.chain, loose.seq, loose.at, loose.kind, loose.actor, loose.subject, loose.data, sign(key, before, loose)
    )


def seal(key: bytes, chain: str, base_seq: int, base_mac: str) -> str:
    """Signs where a chain begins after a prune, hex."""
    return hmac.new(key, orjson.dumps(("base", chain, base_seq, base_mac)), hashlib.sha256).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _sayable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -_WIDEST <= value < _WIDEST:
        return str(value)
    if isinstance(value, Mapping):
        return {str(_sayable(key)): _sayable(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    return [_sayable(item) for item in value] if isinstance(value, (list, tuple)) else value
