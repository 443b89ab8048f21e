"""Boosted trees out of plain arrays say what the library that fitted them says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from app.models.trees import Trees
from tools import same_trees


def test_written_trees_give_what_the_fitted_ones_give(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(600, 5)).astype(np.float32)
    same = values[:, 0] * values[:, 1] + values[:, 4] > 0.2
    same_trees.fit(values, same, tmp_path / "trees.safetensors")
    known = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.05, l2_regularization=1.0, random_state=7)
    wanted = known.fit(values, same).decision_function(values)
    trees = Trees(tmp_path / "trees.safetensors")
    assert [trees(row) for row in values] == pytest.approx(wanted, abs=1e-2)
    assert len({round(trees(row), 3) for row in values}) > 100
