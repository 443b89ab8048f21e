"""The moderator's sliding window over one choice's text: pure bookkeeping, no scoring.

Invariant: `release` hands out only what `texts` has handed to a scorer since it was added.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from app.events import Token


class SlidingWindow:
    """window: characters scored together. Each score sees what left before, so that a phrase cannot hide
    across the edge.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._left = ""
        self._pending: list[Token] = []
        self._length = 0
        self._showing = 0
        self.fresh = True

    @property
    def waiting(self) -> int:
        """Characters not yet released."""
        return self._length

    @property
    def ended(self) -> bool:
        """Whether the choice's last Token is among the pending."""
        return bool(self._pending) and self._pending[-1].finish_reason is not None

    def add(self, token: Token) -> None:
        """Hold a Token back."""
        self._pending.append(token)
        self._length += len(token.said)

    def texts(self) -> list[str]:
        """Windows that together contain every pending character, each with what came before it. Empty: nothing new."""
        self._showing = len(self._pending)
        new = "".join(token.said for token in self._pending)
        if not new.strip():
            return []
        before = self._left[-max(self._window - len(new), self._window // 2) :]
        whole = before + new
        if len(whole) <= self._window:
            return [whole]
        step = self._window // 2
        starts = range(0, len(whole) - self._window + step, step)
        return [whole[start : start + self._window] for start in starts]

    def release(self) -> list[Token]:
        """What `texts` last showed: one Token for the text, one for each tool call, in their order."""
        shown, self._pending = self._pending[: self._showing], self._pending[self._showing :]
        self._showing = 0
        if shown:
            self.fresh = False
        text = "".join(token.said for token in shown)
        self._length -= len(text)
        self._left = (self._left + text)[-self._window :]
        return [_joined(list(tokens)) for _, tokens in groupby(shown, key=_part)]


def _part(token: Token) -> int | None:
    """Which part of the answer it belongs to: the text, or one of its tool calls."""
    return token.tool.index if token.tool else None


def _joined(tokens: list[Token]) -> Token:
    """Several Tokens of one part as one."""
    logprobs = [entry for token in tokens for entry in token.logprobs or ()]
    whole = replace(tokens[-1], logprobs=logprobs or None).saying("".join(token.said for token in tokens))
    if whole.tool is None:
        return whole
    first = tokens[0].tool
    assert first is not None  # noqa: S101 - all are of one part
    return replace(whole, tool=replace(whole.tool, id=first.id, name=first.name))
