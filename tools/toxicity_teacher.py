"""A second opinion to learn the rare labels from: TF-IDF and logistic regression, which knows threats by their words.

rows -> out_of_fold() -> soft labels that tools/train_toxicity.py adds to its loss. Each row's are of a model that has
not seen it. About 2 minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tools.pin import held_out

FOLDS = 4
Floats = NDArray[np.float32]


def out_of_fold(texts: Sequence[str], truth: Floats) -> Floats:
    """Log odds of every label for every row: float32 (rows, labels), calibrated. truth: 0 or 1 (rows, labels)."""
    fold = np.array([sum(held_out("fold" + text, part / FOLDS) for part in range(1, FOLDS)) for text in texts])
    odds = np.zeros(truth.shape, np.float32)
    for part in range(FOLDS):
        away, here = fold != part, fold == part
        odds[here] = Teacher([t for t, out in zip(texts, away, strict=True) if out], truth[away])(
            [t for t, inside in zip(texts, here, strict=True) if inside]
        )
    for i in range(truth.shape[1]):
        platt = LogisticRegression(C=10.0).fit(odds[:, [i]], truth[:, i])
        odds[:, i] = platt.decision_function(odds[:, [i]])
    return odds


class Teacher:
    """A model fitted to rows: call it with texts for their uncalibrated log odds."""

    def __init__(self, texts: Sequence[str], truth: Floats) -> None:
        words = r"(?u)\b\w+\b|[!?*#@]+"
        self._words = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2, strip_accents="unicode", token_pattern=words
        )
        self._chars = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=5, max_features=60_000
        )
        features = csr_matrix(hstack([self._words.fit_transform(texts), self._chars.fit_transform(texts)]))
        self._models = [
            LogisticRegression(C=4.0, solver="liblinear", class_weight="balanced").fit(features, column)
            for column in truth.T
        ]

    def __call__(self, texts: Sequence[str]) -> Floats:
        features = csr_matrix(hstack([self._words.transform(texts), self._chars.transform(texts)]))
        return np.array([model.decision_function(features) for model in self._models], np.float32).T
