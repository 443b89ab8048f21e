"""Which tool call a piece of a stream belongs to.  openai_stream -> [ToolPieces].

By its id or its index; a new id, or a new name, opens a call. Clients add pieces up, so id and name leave with the
first piece alone, and a call begins once its name is known.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.core.events import ToolDelta
from app.engines.loose_json import a_count, a_text, an_object, objects, parsed
from app.engines.surrogates import Halves, whole

MOST_CALLS = 1024


@dataclass(slots=True)
class OpenCall:
    """A call on its way. place: the index that it came with. held: arguments that wait for the name."""

    index: int
    place: int | None
    id: str
    name: str
    told: bool = False
    held: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether its arguments are a whole object."""
        ends = bool(self.said) and self.said[-1].rstrip().endswith("}")
        return ends and isinstance(parsed("".join(self.said)), dict)


class ToolPieces:
    """One choice's tool calls, numbered as they begin."""

    def __init__(self) -> None:
        self.calls: list[OpenCall] = []
        self._halves = Halves()

    def read(self, delta: Mapping[str, Any]) -> Iterator[ToolDelta]:
        """The pieces of a delta, of today's `tool_calls` and of the `function_call` of old."""
        pieces = objects(delta.get("tool_calls"))
        for at, piece in enumerate(pieces):
            yield from self._took(piece, at if len(pieces) > 1 else None)
        if old := an_object(delta.get("function_call")):
            yield from self._took({"function": old}, None)

    def end(self, *, cut: bool) -> Iterator[ToolDelta]:
        """What is left when the choice ends. cut: by its limit, so that a call may stand unfinished."""
        for call in self.calls:
            rest = self._halves.end(call.index)
            if call.told and not cut and not "".join(call.said).strip():
                rest = "{}"  # a call without arguments is an empty object: clients parse it
            if call.told and rest:
                yield ToolDelta(call.index, rest)

    def _took(self, piece: Mapping[str, Any], at: int | None) -> Iterator[ToolDelta]:
        function = an_object(piece.get("function")) or piece
        id_, name = whole(a_text(piece.get("id"))), whole(a_text(function.get("name")))
        said = _arguments(function.get("arguments"))
        call = self._call(a_count(piece.get("index")), id_, name, said, at)
        if call is None:
            return
        call.id, call.name = call.id or id_, call.name or name
        arguments = self._halves.feed(call.index, said)
        call.said.append(arguments)
        if call.told:
            if arguments:
                yield ToolDelta(call.index, arguments)
            return
        call.held += arguments
        if call.name:
            call.told = True
            call.id = call.id or f"call_{secrets.token_hex(12)}"
            yield ToolDelta(call.index, call.held, call.id, call.name)

    def _call(self, place: int | None, id_: str, name: str, said: str, at: int | None) -> OpenCall | None:
        """The call that a piece continues, or a new one. None: there are too many."""
        known = self._known(place, id_, at)
        if known is None or _opens(known, id_, name, said):
            if len(self.calls) >= MOST_CALLS:
                return None
            known = OpenCall(len(self.calls), place if place is not None else at, id_, name)
            self.calls.append(known)
        return known

    def _known(self, place: int | None, id_: str, at: int | None) -> OpenCall | None:
        """By its id, by its index, by its place in a list; a piece that has none of them goes on with the last."""
        latest = self.calls[::-1]
        if id_ and (found := next((call for call in latest if call.id == id_), None)):
            return found
        where = at if place is None else place
        if where is not None:
            return next((call for call in latest if call.place == where), None)
        return next(iter(latest), None)


def _opens(known: OpenCall, id_: str, name: str, said: str) -> bool:
    """Whether a piece that looks like this call's is the first of another one."""
    if not name or (id_ and id_ == known.id):
        return False  # some send another id with every piece: a new call has a name
    if id_ and known.id:
        return True
    if known.name and name != known.name:
        return True
    return bool(known.name and said.strip() and known.complete)


def _arguments(value: Any) -> str:
    """Arguments as text: some send the object itself."""
    if isinstance(value, dict):
        try:
            return orjson.dumps(value).decode()
        except (orjson.JSONEncodeError, RecursionError):
            return ""
    return a_text(value)
