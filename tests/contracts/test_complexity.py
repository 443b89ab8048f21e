"""Every Complexity: a number of 0 to 1 for a prompt, and always the same one."""

from __future__ import annotations

import numpy as np
import pytest

from app.config.adapters import load
from app.core.ports import Complexity, Vector

HARD = (
    "Prove that every bounded sequence of real numbers has a convergent subsequence, then derive a tight bound on "
    "the rate of convergence, and implement an algorithm in Rust that finds it, with an analysis of its complexity. "
) * 3


@pytest.fixture(scope="module", params=["fake", "linear"])
def complexity(request: pytest.FixtureRequest) -> Complexity:
    return load("complexity", request.param)()


@pytest.fixture
def vector() -> Vector:
    return np.full(384, 384**-0.5, dtype=np.float32)


@pytest.mark.parametrize("text", ["", "hi", HARD, "word " * 5000, "\N{PILE OF POO}"])
async def test_the_score_is_a_float_of_0_to_1(complexity: Complexity, vector: Vector, text: str) -> None:
    score = await complexity.score(text, vector)
    assert type(score) is float
    assert 0 <= score <= 1


async def test_the_same_prompt_scores_the_same_again(complexity: Complexity, vector: Vector) -> None:
    assert await complexity.score(HARD, vector) == await complexity.score(HARD, vector)


async def test_a_long_and_hard_prompt_scores_above_a_greeting() -> None:
    encoder = load("encoder", "minilm")()
    rows = await encoder.encode([HARD, "hi"])
    for adapter in ("fake", "linear"):
        complexity = load("complexity", adapter)()
        assert await complexity.score(HARD, rows[0]) > await complexity.score("hi", rows[1])
