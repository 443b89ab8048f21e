"""Judge whether one question asks what another asked, by rules and a network on MiniLM's tokens.  Port ParaphraseJudge.

recall: FAISS's nearest -> [MiniLMParaphraseJudge] -> score -> the cache's decision.
A pair passes, in this order: equal but
for case, blanks and the last `?`; the rules of app/cache/paraphrase/rules.py, which only refuse; the network
(paraphrase/network.py) and boosted trees; a head that makes a probability of their logits and a few numbers on
the two strings.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.cache.paraphrase import features, rules
from app.models.minilm import MiniLM
from app.models.trees import Trees

HEAD, TREES = "same.json", "trees.safetensors"
CHARACTERS = 1200
"""A longer question is compared but for its blanks: it would be over the model's limit anyway."""


class MiniLMParaphraseJudge:
    """A pair takes two passes of MiniLM, one a question; pairs are scored one after the other.

    model: a source (`bundled:`, `path:`) of a folder as recipes.pairs writes it, with same.json beside.
    threads: of one pass. Raises ModelError when it is not there.
    """

    def __init__(self, model: str = "bundled:same-question", threads: int = 1) -> None:
        self._model = MiniLM(model, threads)
        self.about: dict[str, Any] = json.loads((self._model.folder / HEAD).read_text())
        self._trees = Trees(self._model.folder / TREES)
        self._unknown = self._model.tokenizer.token_to_id("[UNK]")

    async def score(self, question: str, others: Sequence[str]) -> list[float]:
        """For each of `others`: the probability that people call the two the same question, 0..1.

        0.0: a rule refuses, a text is empty, or one is longer than the model was trained for (`longest` tokens of
        same.json). Such a pair is the same only when equal but for case and blanks (over CHARACTERS, but for blanks):
        a part of it would tell nothing.
        """
        return [await self._model.run(self._pair, question, other) for other in others]

    def _pair(self, a: str, b: str) -> float:
        if (known := certain(a, b, self.about["identical"])) is not None:
            return known
        logits = self.logits(a, b)
        return 0.0 if logits is None else probability(self.about, row(a, b, logits))

    def logits(self, a: str, b: str) -> tuple[float, float] | None:
        """The network's and the trees'; None where they cannot see the pair: too long, or words unknown to MiniLM."""
        one, two = map(self._model.tokenizer.encode, (a, b))
        if max(len(one.ids), len(two.ids)) > self.about["longest"] or min(len(one.ids), len(two.ids)) < 3:
            return None
        strange = [Counter(_unknown(encoded, text, self._unknown)) for encoded, text in ((one, a), (two, b))]
        if strange[0] != strange[1]:
            return None
        first, second = (np.array([encoded.ids], np.int64) for encoded in (one, two))
        strings = np.array([features.features(a, b)], np.float32)
        logit, *near = self._model.outputs({"first": first, "second": second, "strings": strings})[0]
        return float(logit), self._trees(untrained(a, b, np.array(near)))


def certain(a: str, b: str, identical: float) -> float | None:
    """What needs no model: `identical` for the same text, 0.0 where a rule refuses; None: ask the model."""
    if max(len(a), len(b)) > CHARACTERS:  # a megabyte must cost nothing: no rule reads it
        return identical if a.split() == b.split() != [] else 0.0
    one, two = rules.normalise(a), rules.normalise(b)
    if not one or not two:
        return 0.0
    if one == two:
        return identical if rules.equal_where_case_matters(a, b) else 0.0
    return None if rules.disagree(a, b) is None else 0.0


def untrained(a: str, b: str, near: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the trees read: same_network.numbers of the pair, then features.features."""
    return np.array([*near, *features.features(a, b)], np.float32)


def row(a: str, b: str, logits: tuple[float, float]) -> NDArray[np.float64]:
    """What the head reads: the logits of network and trees, then features.features."""
    return np.array([*logits, *features.features(a, b)])


def probability(head: Mapping[str, Any], values: NDArray[np.float64]) -> float:
    """The head's logistic regression, then its calibration: a line through `knots` (of scores) and `shares`."""
    z = float(np.dot((values - head["mean"]) / head["scale"], head["weights"]) + head["bias"])
    return float(np.interp(1 / (1 + math.exp(-max(-60.0, min(60.0, z)))), head["knots"], head["shares"]))


def _unknown(encoded: Any, text: str, unknown: int) -> list[str]:
    """The words of `text` that the vocabulary does not hold, in one case."""
    return [
        text[start:end].casefold()
        for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True)
        if token == unknown
    ]
