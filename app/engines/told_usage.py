"""What an engine tells of the tokens that it used, whatever the shape.  openai_stream -> [ToldUsage].

Some tell it once, at the end; some with every chunk, of the chunk's own choice (vLLM) or of all; some twice, or a zero
after a count. The largest that was told of anything holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.events import Usage
from app.engines.loose_json import a_count, an_object


@dataclass(frozen=True, slots=True)
class Counts:
    """One `usage` object as read. None: not told."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


def read_counts(said: Any) -> Counts:
    """A `usage` object under the names of the APIs in use. What cannot be read counts as not told."""
    one = an_object(said)
    prompt, completion = _first(one, "prompt_tokens", "input_tokens"), _first(one, "completion_tokens", "output_tokens")
    total = _first(one, "total_tokens")
    read = [an_object(one.get(name)) for name in ("prompt_tokens_details", "input_tokens_details")]
    made = [an_object(one.get(name)) for name in ("completion_tokens_details", "output_tokens_details")]
    cached = _any([_first(each, "cached_tokens") for each in read] + [_first(one, "prompt_cache_hit_tokens")])
    reasoning = _any([_first(each, "reasoning_tokens") for each in made] + [_first(one, "reasoning_tokens")])
    if total is not None:
        if prompt is None and completion is not None:
            prompt = max(0, total - completion) or None
        elif completion is None and prompt is not None:
            completion = max(0, total - prompt) or None
        elif reasoning and prompt is not None and completion is not None and total == prompt + completion + reasoning:
            completion += reasoning  # some count what was thought beside what was answered
    return Counts(prompt, completion, cached, reasoning)


class ToldUsage:
    """The counts of one answer. pieces: one for each piece of text, which stands in for a count that was not told."""

    def __init__(self) -> None:
        self._prompt = self._cached = self._reasoning = 0
        self._whole = 0  # told of the whole answer, in a chunk without choices
        self._most = 0  # the most that was told in a chunk with a choice
        self._choices: dict[int, int] = {}
        self._apart = False  # whether a choice's chunk counts this choice alone: proven
        self._pieces = 0
        self._uncounted = 0

    def take(self, said: Sequence[Any], choice: int | None, pieces: int) -> None:
        """The next chunk: its usage objects, the choice that it is of, and how many pieces of text it has."""
        self._pieces += pieces
        self._uncounted += pieces
        for counts in map(read_counts, said):
            self._prompt = max(self._prompt, counts.prompt or 0)
            self._cached = max(self._cached, counts.cached or 0)
            self._reasoning = max(self._reasoning, counts.reasoning or 0)
            if counts.completion:
                self._took(counts.completion, choice)

    def _took(self, completion: int, choice: int | None) -> None:
        if choice is None:
            self._whole = max(self._whole, completion)
            return
        # A count of all choices grows with every piece, whosever it is.
        if self._choices and completion < self._most + self._uncounted:
            self._apart = True
        self._most = max(self._most, completion)
        self._choices[choice] = max(self._choices.get(choice, 0), completion)
        self._uncounted = 0

    @property
    def usage(self) -> Usage:
        """What is known by now."""
        told = max(self._most, self._whole) if self._whole or not self._apart else sum(self._choices.values())
        completion = told or self._pieces
        return Usage(
            self._prompt,
            completion,
            min(self._cached, self._prompt),
            min(self._reasoning, completion),
            estimated=not (self._prompt and told),
        )


def _first(one: Mapping[str, Any], *names: str) -> int | None:
    return _any([a_count(one.get(name)) for name in names])


def _any(counts: Sequence[int | None]) -> int | None:
    """The largest that was told."""
    return max((count for count in counts if count is not None), default=None)
