"""Measure a router on subjects that it was not trained on: the splits, and the share of the gap that it recovers.

train_complexity.py, evals/complexity.py -> [splits, recovered] -> figures. A question of another subject is what a
head meets in use; rows held out of subjects that it knows would flatter it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]
SHARES = (0.1, 0.2, 0.3)  # of the calls that go to the strong model
SPLITS = 16
OUT = 0.3  # of the subjects, measured on and not trained on
WORD_PROBLEMS = "gsm8k"
APART = "mmlu_moral_scenarios"  # one template with the largest gap of all: left out of the figure for unseen subjects


def recovered(score: Floats, gain: Floats, share: float) -> float:
    """Of what the strong model adds on these rows, the part kept when only the top `share` goes to it.

    Rows of equal score count alike. NaN where it adds nothing.
    """
    total = float(gain.sum())
    if total <= 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    _, group, size = np.unique(-score[order], return_inverse=True, return_counts=True)
    even = (np.bincount(group, gain[order]) / size)[group]
    return float(even[: round(share * len(score))].sum()) / total


def splits(sources: Sequence[str], *, know_word_problems: bool, seed: int = 0) -> Iterator[tuple[Rows, Rows]]:
    """SPLITS times (rows to train on, rows to measure on): OUT of the subjects are in the second part alone.

    Word problems are one template and always measured on: half of them, the others trained on; or, where they are
    not known, all of them.
    """
    source = np.array(sources)
    subjects = sorted(set(sources) - {WORD_PROBLEMS})
    for number in range(SPLITS):
        rng = np.random.default_rng(seed + number)
        unseen = rng.permutation(subjects)[: round(OUT * len(subjects))]
        problems = rng.permutation(np.flatnonzero(source == WORD_PROBLEMS))
        known = problems[: len(problems) // 2] if know_word_problems else problems[:0]
        out = np.isin(source, unseen)
        out[problems] = True
        out[known] = False
        yield np.flatnonzero(~out), np.flatnonzero(out)
