"""The moderator's sliding window over one choice's text: pure bookkeeping, no scoring.

Invariant: `release` hands out only what `texts` has handed to a scorer since it was added.
"""

from __future__ import annotations

from dataclasses import replace

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
        self._length += len(token.text)

    def texts(self) -> list[str]:
        """Windows that together contain every pending character, each with what came before it. Empty: nothing new."""
        self._showing = len(self._pending)
        new = "".join(token.text for token in self._pending)
        if not new.strip():
            return []
        before = self._left[-max(self._window - len(new), self._window // 2) :]
        whole = before + new
        if len(whole) <= self._window:
            return [whole]
        step = self._window // 2
        starts = range(0, len(whole) - self._window + step, step)
        return [whole[start : start + self._window] for start in starts]

    def release(self) -> Token | None:
        """What `texts` last showed, as one Token; None when there was nothing."""
        shown, self._pending = self._pending[: self._showing], self._pending[self._showing :]
        self._showing = 0
        if not shown:
            return None
        self.fresh = False
        text = "".join(token.text for token in shown)
        self._length -= len(text)
        self._left = (self._left + text)[-self._window :]
        logprobs = [entry for token in shown for entry in token.logprobs or ()]
        return replace(shown[-1], text=text, logprobs=logprobs or None)
