"""A conversation as the stages' Messages, whatever it holds.  blocks -> [history] -> Prompt.

A user's tool results become `tool` messages right behind their calls, before what else the user says in the same turn.
What a client repeats from earlier turns never makes a conversation unanswerable: a block in the wrong place is told as
text, one that no pool can use is left out and named. Only what the newest turn asks for is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.api.anthropic.blocks import Document, Image, Other, Texts, ToolResult, ToolUse, Turn, blocks_of
from app.api.anthropic.names import Names
from app.core import errors
from app.core.events import Message

NO_RESULT = "[there is no result of this call]"
UNREADABLE = "[content that this model cannot read]"
OWNERS = {"tool_use": "assistant", "tool_result": "user"}
"""Whose turns a block belongs into."""


@dataclass(slots=True)
class History:
    """Reads one conversation. names: of its tools. ignored: what was left out, as paths."""

    names: Names
    ignored: list[str] = field(default_factory=list)
    _called: set[str] = field(default_factory=set)
    _pending: list[str] = field(default_factory=list)

    def messages(self, system: Texts | None, turns: Sequence[Turn]) -> tuple[Message, ...]:
        """The conversation for the stages. Raises ApiError (400): the newest turn asks for what no pool can do."""
        first = self._said(blocks_of(system), "system")
        made = [Message.of("system", first)] if first else []
        newest = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
        for at, turn in enumerate(turns):
            if at == newest:
                _must_be_read(turn, at)
            if at + 1 == len(turns):
                self._must_stand(turn, at)
            made += self._turn(turn)
        made += self._unanswered()
        return tuple(made) or (Message("user", UNREADABLE),)

    def _turn(self, turn: Turn) -> Iterator[Message]:
        if turn.role == "assistant":
            yield from self._unanswered()
            yield from self._answer(turn)
            return
        results = self._results(turn) if turn.role == "user" else []
        for result in results:
            self._pending.remove(result.tool_use_id)
            self._note(result.blocks, "messages.content.content")
            yield Message.of("tool", result.texts or [""], {"tool_call_id": result.tool_use_id})
        if turn.role == "user":
            yield from self._unanswered()
        taken = {id(result) for result in results}
        rest = [block for block in turn.blocks if id(block) not in taken]
        said = self._said(rest, "messages.content")
        if said or not results:
            yield Message.of(turn.role, said or [UNREADABLE if rest and turn.content else ""])

    def _answer(self, turn: Turn) -> Iterator[Message]:
        """An assistant's turn: what it said, and its calls. A result in it came from outside, and is judged so."""
        uses = list({block.id: block for block in turn.blocks if isinstance(block, ToolUse)}.values())
        outside = [block for block in turn.blocks if isinstance(block, ToolResult)]
        rest = [block for block in turn.blocks if not isinstance(block, ToolUse | ToolResult)]
        said = self._said(rest, "messages.content")
        if said or uses:
            extra = {"tool_calls": [use.call(self.names) for use in uses]} if uses else {}
            yield Message.of(turn.role, said or [""], extra)
        self._pending = [use.id for use in uses]
        self._called.update(self._pending)
        if outside:
            yield from self._unanswered()
            yield Message.of("user", self._said(outside, "messages.content"))

    def _results(self, turn: Turn) -> list[ToolResult]:
        """Those of its results that answer a call of the turn before, one each."""
        found: dict[str, ToolResult] = {}
        for block in turn.blocks:
            if isinstance(block, ToolResult) and block.tool_use_id in self._pending:
                found.setdefault(block.tool_use_id, block)
        return list(found.values())

    def _unanswered(self) -> Iterator[Message]:
        """Calls that the client gave no result of: many engines want one for each."""
        for call in self._pending:
            yield Message.of("tool", [NO_RESULT], {"tool_call_id": call})
        self._pending = []

    def _said(self, blocks: Sequence[object], where: str) -> list[str]:
        """The blocks' texts; names what is left out."""
        self._note(blocks, where)
        return [told for block in blocks if (told := getattr(block, "told", ""))]

    def _note(self, blocks: Sequence[object], where: str) -> None:
        for block in blocks:
            unread = isinstance(block, Image) or (isinstance(block, Document) and not block.readable)
            if unread or isinstance(block, Other):
                self.ignored.append(f"{where}.{block.type}")  # type: ignore[attr-defined]  # one of the three
            elif isinstance(block, ToolResult):
                self._note(block.blocks, f"{where}.content")

    def _must_stand(self, turn: Turn, at: int) -> None:
        """Raises ApiError (400): the last turn has a block that belongs elsewhere, or a result of no call."""
        for place, block in enumerate(turn.blocks):
            whose = OWNERS.get(block.type)
            if whose and turn.role != whose:
                why = f"messages[{at}]: `{block.type}` blocks belong into messages of the role `{whose}`."
                raise errors.bad_request(why, f"messages[{at}].content[{place}]")
            if isinstance(block, ToolResult) and block.tool_use_id not in self._called:
                raise errors.no_tool_call(block.tool_use_id, f"messages[{at}].content[{place}]")


def _must_be_read(turn: Turn, at: int) -> None:
    """Raises ApiError (400): the newest user's turn shows what no pool can see."""
    for place, block in enumerate(turn.blocks):
        path = f"messages[{at}].content[{place}]"
        if isinstance(block, Image):
            raise errors.unsupported(path, f"{path}: no pool here can see images. Send text.")
        if isinstance(block, Document) and not block.readable:
            raise errors.unsupported(path, f"{path}: no pool here can read this document. Send its text.")
