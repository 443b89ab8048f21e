"""Every paraphrase judge: a probability for each other question, in their order, whatever the texts."""

from __future__ import annotations

import pytest

from app.config.adapters import load
from app.core.ports import ParaphraseJudge
from app.runtime.prepare import prepare

QUESTION = "How do I reset my password?"
NASTY = [
    "",
    " ",
    "\0",
    "\u200b\u200b",
    "pass\u200bword \U0001f511",
    "\u043f\u0430\u0440\u043e\u043b\u044c",
    "数" * 3000,
    "a" * 1_000_000,
    "cGFzc3dvcmQ=" * 50,
]


@pytest.fixture(scope="module", params=["fake", "minilm"])
def same(request: pytest.FixtureRequest) -> ParaphraseJudge:
    if request.param == "minilm":
        prepare(["bundled:same-question"])
    judge: ParaphraseJudge = load("paraphrase", request.param)()
    return judge


async def test_each_other_question_gets_its_own_score_of_0_to_1_in_order(same: ParaphraseJudge) -> None:
    scores = await same.score(QUESTION, ["What is the weather in Oslo?", "how do I reset my password"])
    assert [type(score) for score in scores] == [float, float]
    assert 0 <= scores[0] < scores[1] <= 1


async def test_nothing_to_compare_with_gives_nothing(same: ParaphraseJudge) -> None:
    assert await same.score(QUESTION, []) == []


async def test_the_same_pair_scores_the_same_again(same: ParaphraseJudge) -> None:
    others = ["How can I reset my password?", "Where is my password?"]
    assert await same.score(QUESTION, others) == await same.score(QUESTION, others)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_any_text_gets_a_score(same: ParaphraseJudge, text: str) -> None:
    for score in (*await same.score(text, [QUESTION, text]), *await same.score(QUESTION, [text])):
        assert 0 <= score <= 1


async def test_an_empty_question_is_no_question(same: ParaphraseJudge) -> None:
    assert await same.score("", ["", QUESTION]) == [0.0, 0.0]
