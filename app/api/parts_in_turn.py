"""Parts of an answer one after the other, for APIs whose items come whole.  output -> [PartsInTurn].

Engines may send two tool calls in turns, or a word of text between two pieces of one call. What comes while a call is
not whole waits until it is, or until the choice ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from app.core.events import Token

Part = int | str | None
"""As Token.part."""


class PartsInTurn:
    """One choice's Tokens, so that those of one part stand together."""

    def __init__(self) -> None:
        self._now: Part = None
        self._arguments: list[str] = []  # of the call that is on its way
        self._waiting: dict[Part, list[Token]] = {}

    def feed(self, token: Token) -> Iterator[Token]:
        """The next Token in; what may be told by now out."""
        part = token.part
        ends = token.finish_reason is not None
        if ends or part == self._now or (part not in self._waiting and self._free()):
            if ends:
                yield from self._released(part)
            if part != self._now and (token.said or token.tool):
                self._now, self._arguments = part, []
            if token.tool:
                self._arguments.append(token.said)
            yield token
        else:
            self._waiting.setdefault(part, []).append(token)

    def _free(self) -> bool:
        """Whether another part may begin: nothing waits, and no call is cut short by it."""
        return not self._waiting and (not isinstance(self._now, int) or _is_object("".join(self._arguments)))

    def _released(self, last: Part) -> Iterator[Token]:
        """What waits, part by part; that of the `last` at its end."""
        waiting, self._waiting = self._waiting, {}
        for part in sorted(waiting, key=lambda one: one == last):
            yield from waiting[part]


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
