"""Find names, places, addresses, titles, dates, ages and telephone numbers in English with a small tagger over MiniLM.

PresidioScrubber -> engine -> [Tagger]. English only; other languages rest on their spaCy pipeline. Weights by
tools/train_names.py, which reads texts through `encode` as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 192  # tokens of one inference
SHARED = 32  # tokens that two inferences of a long text have in common
NEWLINE = "\u00b6"  # a line's end, which the tokenizer would drop, as a sign it knows: an address is told by its lines
OUTSIDE = "O"
CLS, SEP = 101, 102
LETTERS = re.compile(r"[^\W\d_]{2}")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as MiniLM reads it, without special tokens. capital: 1 for a token of a word in capitals or with one.

    MiniLM knows no capitals: they are told to it as token types. word: the number of the word a token is of.
    """

    ids: list[int]
    capital: list[int]
    places: list[tuple[int, int]]
    word: list[int]


@dataclass(frozen=True, slots=True)
class NameSpan:
    """Consecutive words of one label: [start, end) in characters; score: the mean probability, 0..1."""

    start: int
    end: int
    label: str
    score: float


def encode(tokenizer: Any, text: str) -> Tokens:
    """tokenizer: of `tokenizers`, with neither padding nor truncation."""
    read = tokenizer.encode(text.replace("\n", NEWLINE), add_special_tokens=False)
    words = [-1 if word is None else word for word in read.word_ids]
    starts: dict[int, int] = {}
    for word, (start, _) in zip(words, read.offsets, strict=True):
        starts.setdefault(word, start)
    capital = [int(text[starts[word]].isupper()) for word in words]
    return Tokens(list(read.ids), capital, list(read.offsets), words)


class Tagger:
    """A MiniLM with one of LABELS for each word. model: app/models/minilm.py's."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.labels: list[str] = list(model.about["labels"])

    def __call__(self, text: str) -> list[NameSpan]:
        """All that is not OUTSIDE, in order."""
        tokens = encode(self._model.tokenizer, text)
        if not tokens.ids:
            return []
        return list(_runs(tokens, self._probabilities(tokens, text), self.labels))

    def _probabilities(self, tokens: Tokens, text: str) -> NDArray[np.float32]:
        """(tokens, labels). A long text goes in overlapping parts; a token counts where it stands further inside.

        A part of a long text without a letter is not read: nobody is named there, and patterns see it anyway.
        """
        count, inner = len(tokens.ids), LONGEST - 2
        found = np.zeros((count, len(self.labels)), np.float32)
        start = 0
        while True:
            end = min(start + inner, count)
            skip = SHARED // 2 if start else 0
            part = text[tokens.places[start][0] : tokens.places[end - 1][1]]
            if count > inner and not LETTERS.search(part):
                found[start + skip : end] = 0
                found[start + skip : end, self.labels.index(OUTSIDE)] = 1
            else:
                logits = self._model.logits([CLS, *tokens.ids[start:end], SEP], [0, *tokens.capital[start:end], 0])
                found[start + skip : end] = softmax(logits[1 + skip : -1])
            if end == count:
                return found
            start = end - SHARED


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True), np.float32)


def _runs(tokens: Tokens, probabilities: NDArray[np.float32], labels: list[str]) -> Iterator[NameSpan]:
    """Words of one label, next to each other, as one."""
    outside = labels.index(OUTSIDE)
    current: tuple[int, int, int, list[float]] | None = None
    for start, end, mean in _words(tokens, probabilities):
        label = int(mean.argmax())
        if current and current[2] == label:
            current = (current[0], end, label, [*current[3], float(mean[label])])
            continue
        if current:
            yield NameSpan(current[0], current[1], labels[current[2]], sum(current[3]) / len(current[3]))
        current = None if label == outside else (start, end, label, [float(mean[label])])
    if current:
        yield NameSpan(current[0], current[1], labels[current[2]], sum(current[3]) / len(current[3]))


def _words(tokens: Tokens, probabilities: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    first = 0
    for at in range(1, len(tokens.ids) + 1):
        if at == len(tokens.ids) or tokens.word[at] != tokens.word[first]:
            yield tokens.places[first][0], tokens.places[at - 1][1], probabilities[first:at].mean(0)
            first = at
