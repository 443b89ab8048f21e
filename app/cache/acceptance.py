"""Whether a stored answer may serve: an error bound that is tested, not a believed threshold.  recall -> [here].

The promise: of the answers that a tenant gets for another wording than the stored one, at most `error` are wrong. A
judge's score alone cannot keep it: what .97 means differs by tenant, and judges err. So a score only sorts
candidates into bins, and a bin serves once comparisons of stored with fresh answers have shown, by an exact binomial
test at `confidence`, that its errors are within the bound. Until then the call is generated as if nothing had been
found, and the comparison is learned from; afterwards a share (`audit`) still is, so that a change for the worse is
seen. This is the idea of vCache (arXiv 2502.03771): an online rule in place of a static threshold. Two things differ:
vCache bounds the wrong share of all calls and so may serve a doubtful answer to few of them, here the bound is on the
served ones alone; and what vCache learns for each entry is learned for the tenant, while its own mistakes bar an entry.

Assumed: within a tenant and a bin, errors keep their rate while the evidence lasts (the index keeps the newest 512
comparisons), and a higher score is not less often right. A comparison that wrongly says "different" costs hits; one
that wrongly says "same" costs the bound, so the comparison (cache/equivalence.py) is strict.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Tries = Sequence[tuple[float, bool]]
"""Comparisons: (the judge's score, whether the stored answer would have served)."""

EDGES = (0.5, 0.8, 0.9, 0.95, 0.98)
"""Where a bin of scores begins. Below the first nothing is tried."""
KIN = 10
"""An entry is judged as if it had made so many comparisons with its bin's error rate besides its own."""

KEPT = 512
"""Comparisons of a tenant that the index keeps."""
RARE = 4
"""A bin with so many times fewer comparisons than a lower one is too rare to be waited for."""
PRECISION = 1e-4

PRIOR = ((643, 334), (478, 91), (259, 19), (104, 6), (53, 2))
"""Of each bin, how often the bundled judge was right and wrong about pairs that it was not trained on."""

Choice = Literal["serve", "explore", "miss"]


@dataclass(frozen=True, slots=True)
class Bound:
    """What is promised, and how it is kept.

    error: share of wrong answers among those served, 0..1. confidence: of the test that it is kept, 0..1.
    audit: share of servable candidates that are generated and compared all the same, 0..1.
    prior: right and wrong of each bin before the tenant has any evidence, as long as EDGES, or empty.
    """

    error: float
    confidence: float = 0.95
    audit: float = 0.05
    prior: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a candidate. risk: the upper bound on its error rate, 0..1; tries: from how many comparisons.

    proven: it is within the bound; an `explore` of it is an audit.
    """

    choice: Choice
    risk: float = 1.0
    tries: int = 0
    proven: bool = False


class AcceptancePolicy:
    """A tenant's evidence at this moment, sorted into bins. Cheap to make: one for each lookup."""

    def __init__(self, bound: Bound, evidence: Tries) -> None:
        self._bound = bound
        self._counts = [list(pair) for pair in bound.prior] or [[0, 0] for _ in EDGES]
        self._doubt = round(1 - bound.confidence, 9)
        for score, right in evidence:
            if (at := place(score)) >= 0:
                self._counts[at][not right] += 1

    def judge(self, score: float, own: Tries, rng: random.Random) -> Verdict:
        """What to do with a candidate of this score. own: its entry's comparisons, newest last."""
        at = place(score)
        if at < 0:
            return Verdict("miss")
        risk, tries = self._risk(at), sum(self._counts[at])
        after = _after(risk, own, at)
        audited = rng.random() < self._bound.audit
        if after <= self._bound.error:
            return Verdict("explore" if audited else "serve", after, tries, proven=True)
        wanted = after == risk and self._open(at)
        return Verdict("explore" if wanted or audited else "miss", after, tries)

    def _risk(self, at: int) -> float:
        """The upper bound on the bin's error rate that its comparisons give."""
        right, wrong = self._counts[at]
        return upper(wrong, right + wrong, self._doubt)

    def _open(self, at: int) -> bool:
        """Whether to learn all one can about this bin: it is the best one in doubt, and nothing speaks against it.

        A lower bin cannot serve before a higher one does, and its comparisons would crowd out the higher one's.
        """
        tries = sum(self._counts[at])
        proven = 0
        for above in range(at + 1, len(EDGES)):
            if self._risk(above) <= self._bound.error:
                proven += 1
            elif RARE * sum(self._counts[above]) > tries:
                return False
        return tries < KEPT // (1 + proven) and not self._hopeless(at)

    def _hopeless(self, at: int) -> bool:
        """Whether the bin's errors show that its rate is above the bound."""
        right, wrong = self._counts[at]
        return wrong > 0 and 1 - at_most(wrong - 1, right + wrong, self._bound.error) <= self._doubt


def prior(weight: int) -> tuple[tuple[int, int], ...]:
    """PRIOR as if each bin had made at most `weight` comparisons; empty for 0."""
    if not weight:
        return ()
    scaled = []
    for right, wrong in PRIOR:
        tries = min(weight, right + wrong)
        errors = round(tries * wrong / max(1, right + wrong))
        scaled.append((tries - errors, errors))
    return tuple(scaled)


def place(score: float) -> int:
    """The bin of a score, -1 below all."""
    return bisect_right(EDGES, score) - 1


def at_most(wrong: int, tries: int, rate: float) -> float:
    """The chance of at most `wrong` errors in so many tries, where each fails at this rate (0 < rate < 1)."""
    term = total = (1 - rate) ** tries
    for i in range(wrong):
        term *= (tries - i) / (i + 1) * rate / (1 - rate)
        total += term
    return min(1.0, total)


@lru_cache(maxsize=4096)
def upper(wrong: int, tries: int, doubt: float) -> float:
    """The error rate that is exceeded with no more than `doubt`, after so many errors in so many tries, 0..1.

    Clopper and Pearson (1934). A rate above one half is not worth its digits: 1.
    """
    if 2 * wrong >= tries:
        return 1.0
    low, high = wrong / tries, 1.0
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if at_most(wrong, tries, middle) <= doubt else (middle, high)
    return high


def _after(risk: float, own: Tries, at: int) -> float:
    """An entry's risk after its own comparisons of about this score. Rights do not take it under its bin's."""
    wrong = sum(not right for score, right in own if place(score) >= at - 1)
    if not wrong:
        return risk
    right = sum(right for score, right in own if place(score) <= at)
    return max(risk, (KIN * risk + wrong) / (KIN + wrong + right))
