"""Pass the calls of the request's own tools, and no others.  generate -> [tools] -> moderate.

Reads Token; yields Token. A call of a tool that the request does not have is told as text, which is judged like any
other: a client that runs what it is told to run gets no name that it did not send. An id that is not made of letters,
digits, `_` and `-`, or is longer than 64 characters, is replaced by one of ours.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.call import Call
from app.core.events import Token, ToolDelta
from app.core.stage import Events
from app.pipeline.assembly import Assembly

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def tool_names(params: Mapping[str, Any]) -> Iterator[str]:
    """The names of a request's tools, however the tool is spelt."""
    for tool in params.get("tools") or ():
        if not isinstance(tool, Mapping):
            continue
        for said in (tool, *tool.values()):
            if isinstance(said, Mapping) and isinstance(name := said.get("name"), str):
                yield name


class Tools:
    """Looks at each choice's calls by themselves."""

    name = "tools"

    @classmethod
    def of(cls, _: Assembly) -> Tools:
        return cls()

    async def __call__(self, call: Call, events: Events) -> Events:
        choices: dict[int, Calls] = {}
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Token):
                    yield event
                    continue
                for token in choices.setdefault(event.choice, Calls()).passed(event, call.tools):
                    yield token


@dataclass(slots=True)
class Calls:
    """One choice's calls. places: the engine's number of each that passes -> ours. told: those that are text."""

    places: dict[int, int] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)

    def passed(self, token: Token, names: frozenset[str]) -> Iterator[Token]:
        """What becomes of a Token."""
        if token.tool:
            yield self._piece(token, token.tool, names)
        elif token.finish_reason:
            yield self._end(token)
        else:
            yield token

    def _piece(self, token: Token, tool: ToolDelta, names: frozenset[str]) -> Token:
        at = tool.index
        if at in self.told or (at not in self.places and tool.name not in names):
            begun = at in self.told
            self.told.add(at)
            opening = "" if begun else f"{tool.name or ''}("
            return replace(token, text=opening + tool.arguments, tool=None)
        self.places.setdefault(at, len(self.places))
        return replace(token, tool=replace(tool, index=self.places[at], id=_id(tool.id), name=_name(tool.name, names)))

    def _end(self, token: Token) -> Token:
        closing = ")" * len(self.told)
        return replace(token, text=closing + token.text, finish_reason=self._why(token.finish_reason))

    def _why(self, finish: str | None) -> str | None:
        """An answer without a call did not end for one."""
        return "stop" if finish == "tool_calls" and not self.places else finish


def _id(said: str | None) -> str | None:
    return said if said is None or _ID.fullmatch(said) else f"call_{secrets.token_hex(12)}"


def _name(said: str | None, names: frozenset[str]) -> str | None:
    """A name that comes again, or otherwise, with a later piece."""
    return said if said in names else None
