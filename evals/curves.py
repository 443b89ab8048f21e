"""AUC, ROC, precision and recall, calibration: what several judges draw.

labels: bool (rows,). scores: float (rows,), higher is more.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evals.table import Curve

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
POINTS = 200  # of a curve: more are not seen


def auc(labels: Bools, scores: Floats) -> float:
    """The area under the ROC curve, ties counted half; NaN when all labels are equal."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def recall_at(labels: Bools, scores: Floats, false_positives: float) -> float:
    """Recall at the threshold that this share of the negatives reaches; NaN when all labels are equal."""
    if labels.all() or not labels.any():
        return math.nan
    limit = np.quantile(scores[~labels], 1 - false_positives)
    return float((scores[labels] > limit).mean())


def roc(name: str, labels: Bools, scores: Floats) -> Curve:
    """False-positive rate against recall."""
    order = np.argsort(-scores, kind="stable")
    hit = labels[order]
    recall = np.concatenate([[0.0], np.cumsum(hit) / max(1, hit.sum())])
    false = np.concatenate([[0.0], np.cumsum(~hit) / max(1, (~hit).sum())])
    return Curve(name, *_thinned(false, recall), "false positives", "recall", "roc")


def precision_recall(name: str, labels: Bools, scores: Floats) -> Curve:
    """Recall against precision."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    precision = hits / np.arange(1, len(hits) + 1)
    return Curve(name, *_thinned(hits / max(1, hits[-1]), precision), "recall", "precision", "pr")


def calibration(name: str, labels: Bools, scores: Floats, bins: int = 10) -> Curve:
    """The mean score of each tenth of the rows against the share of positives in it. scores: 0..1."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    x = [float(scores[part].mean()) for part in parts]
    y = [float(labels[part].mean()) for part in parts]
    return Curve(name, x, y, "score", "share of positives", "calibration")


def _thinned(x: Floats, y: Floats) -> tuple[list[float], list[float]]:
    rows = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int)) if len(x) > POINTS else np.arange(len(x))
    return [float(v) for v in x[rows]], [float(v) for v in y[rows]]
