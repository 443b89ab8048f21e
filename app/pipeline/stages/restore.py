"""Put the caller's own data back where placeholders or stand-ins stand.  remember -> [restore] -> settle.

Reads Token; yields Token. A name split across Tokens is held back until it is whole; each choice's text and each of
its tool calls has a place of its own to wait in. Stop sequences are looked for in what the caller will see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from app.core.call import Call
from app.core.decisions import RestoreDecision
from app.core.events import Event, Refusal, Token, ToolDelta
from app.core.logprobs import Logprobs
from app.core.restorer import Restorer
from app.core.stage import Events
from app.core.stops import Stops
from app.core.vault import Vault
from app.pipeline.assembly import Assembly


class Restore:
    name = "restore"

    @classmethod
    def of(cls, _: Assembly) -> Restore:
        return cls()

    async def __call__(self, call: Call, events: Events) -> Events:
        choices: dict[int, Choice] = {}
        async with aclosing(events):
            async for event in events:
                if not (call.vault.originals or call.vault.identifiers):
                    yield event
                    continue
                for restored in _restored(call, choices, event):
                    yield restored
                if unknown := sum(choice.unknown for choice in choices.values()):
                    call.decisions.restore = RestoreDecision(unknown)


def _restored(call: Call, choices: dict[int, Choice], event: Event) -> Iterator[Event]:
    if isinstance(event, Token):
        named = _named(event, call.vault.identifiers)
        if event.choice not in choices:
            choices[event.choice] = Choice(call.vault, call.params)
        yield from choices[event.choice].restored(named)
        return
    if isinstance(event, Refusal) and event.choice in choices:
        if choices[event.choice].ended:
            return  # the caller has seen its end, and nothing of what is refused
        # What was held back had passed the moderator before the refusal came.
        yield from choices[event.choice].flushed(event.choice)
    yield event


class Choice:
    """One choice's text, thoughts and tool calls, each with a Restorer: engines send them in turns.

    Arguments are JSON: there originals go in escaped. Stop sequences and logprobs are of the text alone.
    """

    def __init__(self, vault: Vault, params: Mapping[str, Any]) -> None:
        self._vault = vault
        self._text = vault.restorer(quoted=_wants_json(params))
        self._thoughts = vault.restorer()
        self._tools: dict[int, Restorer] = {}
        self._stops = Stops(_stops(params), shown=bool(params.get("include_stop_str_in_output")))
        self._logprobs = Logprobs()
        self.ended = False

    @property
    def unknown(self) -> int:
        """Placeholders that nobody gave out."""
        return self._text.unknown + self._thoughts.unknown + sum(tool.unknown for tool in self._tools.values())

    def restored(self, token: Token) -> Iterator[Token]:
        """What can be shown once `token` has come."""
        if self.ended:
            return
        if token.tool:
            yield from self._piece(token)
        elif token.reasoning:
            yield from self._thought(token)
        else:
            yield from self._said(token)

    def flushed(self, choice: int) -> Iterator[Token]:
        """What is held back, as it stands."""
        if held := self._thoughts.flush():
            yield Token(held, choice, kind="reasoning")
        text = self._stops.feed(self._text.flush())
        text += "" if self._stops.met else self._stops.flush()
        if text:
            yield Token(text, choice, logprobs=self._let_out() or None)
        for index, tool in self._tools.items():
            if held := tool.flush():
                yield Token("", choice, tool=ToolDelta(index, held))

    def _piece(self, token: Token) -> Iterator[Token]:
        """Of a tool call."""
        tool = token.tool
        if tool is None:
            return
        if tool.index not in self._tools:
            self._tools[tool.index] = self._vault.restorer(quoted=True)
            if not self._text.unfinished:  # text before a call stays before it
                yield from self._text_so_far(token.choice)
        if self.ended:
            return
        said = self._tools[tool.index].feed(tool.arguments)
        if token.finish_reason:
            said += self._tools[tool.index].flush()
            yield from self.flushed(token.choice)
        if said or token.finish_reason or token.logprobs or tool.id is not None or tool.name is not None:
            yield token.saying(said)

    def _thought(self, token: Token) -> Iterator[Token]:
        """Of what the model thinks."""
        said = self._thoughts.feed(token.text)
        if not token.finish_reason:
            if said or token.logprobs:
                yield replace(token, text=said)
            return
        said += self._thoughts.flush()
        if said:
            yield replace(token, text=said, finish_reason=None, stop=None)
        yield from self._said(replace(token, text="", logprobs=None, kind="text"))

    def _said(self, token: Token) -> Iterator[Token]:
        """Of the text."""
        if token.text and not self._thoughts.unfinished and (held := self._thoughts.flush()):
            yield Token(held, token.choice, kind="reasoning")
        self._logprobs.take(token.logprobs)
        text = self._stops.feed(self._text.feed(token.text))
        if token.finish_reason and not self._stops.met:
            text += self._stops.feed(self._text.flush())
            text += "" if self._stops.met else self._stops.flush()
        entries = self._let_out() or None
        if self._stops.met:
            self.ended = True
            yield replace(token, text=text, logprobs=entries, finish_reason="stop", stop=self._stops.met)
            return
        if not token.finish_reason:
            if text or entries:
                yield replace(token, text=text, logprobs=entries)
            return
        stop = token.stop and self._whole(token.stop)
        if any(pieces := list(self.flushed(token.choice))) and text:
            yield Token(text, token.choice, logprobs=entries)
            text, entries = "", None
        yield from pieces
        yield replace(token, text=text, logprobs=entries, stop=stop)

    def _text_so_far(self, choice: int) -> Iterator[Token]:
        text = self._stops.feed(self._text.flush())
        entries = self._let_out() or None
        if self._stops.met:
            self.ended = True
            yield Token(text, choice, logprobs=entries, finish_reason="stop", stop=self._stops.met)
        elif text or entries:
            yield Token(text, choice, logprobs=entries)

    def _let_out(self) -> Sequence[Mapping[str, Any]]:
        """The logprobs of the text that has left."""
        entries = self._logprobs.out(self._text.at, self._text.replaced)
        self._text.replaced.clear()
        return entries

    def _whole(self, text: str) -> str:
        restorer = self._vault.restorer()
        return restorer.feed(text) + restorer.flush()


def _stops(params: Mapping[str, Any]) -> Sequence[str]:
    """As the caller wrote them."""
    stop = params.get("stop") or ()
    return [stop] if isinstance(stop, str) else [one for one in stop if isinstance(one, str)]


def _wants_json(params: Mapping[str, Any]) -> bool:
    form = params.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    structured = params.get("structured_outputs")
    asked = isinstance(structured, Mapping) and (structured.get("json") or structured.get("json_object"))
    return kind in ("json_object", "json_schema") or bool(asked or params.get("guided_json"))


def _named(token: Token, identifiers: Mapping[str, str]) -> Token:
    """A tool is called by the name that the caller gave it."""
    if token.tool is None or token.tool.name is None or token.tool.name not in identifiers:
        return token
    return replace(token, tool=replace(token.tool, name=identifiers[token.tool.name]))
