"""Fit the head of the judge of "is it the same question", calibrate it and measure it on what it was not fitted on.

tools/train_same.py head -> [this] -> same.json. The held-out pairs are halved by hash: the head of one half is measured
on the other, so every figure is of unseen questions; the head that is kept is fitted on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from app.cache.paraphrase.judge import certain, probability, row

Floats = NDArray[np.float64]
RECALL = (
    0.33  # of labelled pairs at the default threshold; whether an answer serves is decided by app/cache/acceptance.py
)
CONTRASTS = 0.3  # weight of a made pair in the head's fit, against 1 of a labelled one
STRENGTH = 0.03
FEW = 40  # pairs under one knot of the calibration, at least: fewer make it believe in luck
BINS = [0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 1.0]


@dataclass(frozen=True)
class Scored:
    """Pairs and what is known of each. rows: what the head reads, where a rule has not decided (`asked`)."""

    same: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    half: NDArray[np.bool_]
    fixed: Floats
    rows: Floats

    @property
    def asked(self) -> NDArray[np.bool_]:
        return np.isnan(self.fixed)

    def part(self, which: NDArray[np.bool_]) -> Scored:
        """Only these pairs."""
        return Scored(self.same[which], self.labelled[which], self.half[which], self.fixed[which], self.rows[which])


def read(
    pairs: Sequence[tuple[str, str]], logits: Sequence[tuple[float, float] | None], identical: float
) -> tuple[Floats, Floats]:
    """`fixed` and `rows` of Scored. logits: None where the model was not asked."""
    fixed, rows = [], []
    for (a, b), found in zip(pairs, logits, strict=True):
        known = certain(a, b, identical)
        fixed.append(0.0 if known is None and found is None else np.nan if known is None else known)
        rows.append(row(a, b, found or (0.0, 0.0)))
    return np.array(fixed), np.stack(rows)


def fit(data: Scored) -> dict[str, Any]:
    """The head: standardised logistic regression, then isotonic calibration on the labelled pairs alone."""
    asked = data.part(data.asked)
    mean, scale = asked.rows.mean(0), asked.rows.std(0) + 1e-6
    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    model.fit((asked.rows - mean) / scale, asked.same, sample_weight=np.where(asked.labelled, 1.0, CONTRASTS))
    head: dict[str, Any] = {
        "mean": mean, "scale": scale, "weights": model.coef_[0], "bias": float(model.intercept_[0]),
        "knots": [0.0, 1.0], "shares": [0.0, 1.0],
    }  # fmt: skip
    raw = np.array([probability(head, values) for values in asked.rows])
    head["knots"], head["shares"] = _calibrated(raw[asked.labelled], asked.same[asked.labelled])
    return head


def _calibrated(raw: Floats, same: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Isotonic steps of at least FEW pairs, joined by straight lines, rising strictly so that no two scores tie."""
    order = np.argsort(raw)
    steps = IsotonicRegression().fit_transform(raw[order], same[order].astype(float))
    edges, at = [], 0
    for block in np.split(np.arange(len(steps)), np.flatnonzero(np.diff(steps)) + 1):
        at += len(block)
        if at >= FEW:
            edges.append(block[-1] + 1)
            at = 0
    cuts = np.array([0, *edges[:-1], len(steps)])
    knots = np.array([raw[order][i:j].mean() for i, j in pairwise(cuts)])
    # one more pair of each kind: no step is sure of itself
    shares = np.array([(same[order][i:j].sum() + 0.5) / (j - i + 1) for i, j in pairwise(cuts)])
    shares = np.maximum.accumulate(shares) + 1e-6 * np.arange(len(shares))
    top = shares[-1] + (1 - shares[-1]) / 4
    return np.array([0.0, *knots, 1.0]), np.array([0.0, *shares, top])


def scores(head: dict[str, Any], data: Scored) -> Floats:
    """Of every pair, 0..1."""
    found = [probability(head, values) if np.isnan(known) else known
             for known, values in zip(data.fixed, data.rows, strict=True)]  # fmt: skip
    return np.array(found)


def crossed(data: Scored) -> Floats:
    """Every pair's score by the head that was fitted on the other half."""
    found = np.zeros(len(data.same))
    for side in (True, False):
        found[data.half == side] = scores(fit(data.part(data.half != side)), data.part(data.half == side))
    return found


def threshold(found: Floats, same: NDArray[np.bool_], recall: float = RECALL) -> float:
    """The score that this share of the labelled pairs that are the same reach, to three places down."""
    return float(np.floor(np.quantile(found[same], 1 - recall) * 1000) / 1000)


def evidence(found: Floats, same: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Pairs right and wrong by score: what a decision rule may believe before it has seen any of its own."""
    table = []
    for low, high in pairwise(BINS):
        inside = (found >= low) & ((found < high) | (high == 1.0))
        right = int(same[inside].sum())
        table.append({"from": low, "to": high, "right": right, "wrong": int(inside.sum()) - right})
    return table
