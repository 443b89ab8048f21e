"""Put the caller's own data back where placeholders or stand-ins stand.  remember -> [restore] -> settle.

Reads Token; yields Token. A name split across Tokens is held back until it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from app.core.call import Call
from app.core.events import Refusal, Token, ToolDelta
from app.core.stage import Events
from app.core.vault import Restorer, Vault
from app.pipeline.assembly import Assembly


class Restore:
    name = "restore"

    @classmethod
    def of(cls, _: Assembly) -> Restore:
        return cls()

    async def __call__(self, call: Call, events: Events) -> Events:
        parts: dict[int, Parts] = {}
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Token) and (call.vault.originals or call.vault.identifiers):
                    named = _named(event, call.vault.identifiers)
                    for token in parts.setdefault(event.choice, Parts(call.vault)).restored(named):
                        yield token
                    continue
                if isinstance(event, Refusal) and event.choice in parts:
                    # What was held back had passed the moderator before the refusal came.
                    for token in parts.pop(event.choice).flushed(Token("", event.choice)):
                        yield token
                yield event


class Parts:
    """One choice's text, thoughts and tool calls, each with a Restorer: engines send them in turns.

    Arguments are JSON: there originals go in escaped.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._restorers: dict[int | str | None, Restorer] = {}

    def restored(self, token: Token) -> Iterator[Token]:
        """What can be shown once `token` has come; the choice's end lets out what was held back."""
        part = token.part
        if part not in self._restorers:
            self._restorers[part] = self._vault.restorer(quoted=token.tool is not None)
        said = self._restorers[part].feed(token.said)
        if not token.finish_reason:
            new = token.tool is not None and token.tool.id is not None
            if said or token.logprobs or new:
                yield token.saying(said)
            return
        held = self._restorers.pop(part).flush()
        yield from self.flushed(token)
        yield token.saying(said + held)

    def flushed(self, like: Token) -> Iterator[Token]:
        """What was held back, of the choice that `like` is of."""
        for part, restorer in self._restorers.items():
            if held := restorer.flush():
                tool = ToolDelta(part, held) if isinstance(part, int) else None
                kind = part if isinstance(part, str) else "text"
                yield Token("" if tool else held, like.choice, tool=tool, kind=kind)


def _named(token: Token, identifiers: Mapping[str, str]) -> Token:
    """A tool is called by the name that the caller gave it."""
    if token.tool is None or token.tool.name is None or token.tool.name not in identifiers:
        return token
    return replace(token, tool=replace(token.tool, name=identifiers[token.tool.name]))
