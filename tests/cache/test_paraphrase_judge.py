"""The real judge of "is it the same question": what no rule and no cosine sees, its limits, its published evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.cache.paraphrase.features import NAMES
from app.cache.paraphrase.judge import MiniLMParaphraseJudge, probability
from app.runtime.prepare import prepare

LOOK_ALIKES = [
    ("What should I eat at 37 weeks pregnant?", "What should I eat at 35 weeks pregnant?"),
    ("What do Croats think of Turks?", "What do Turks think of Croats?"),
    ("what is the population of tokyo", "what is the population of osaka"),
    ("How do I clean a leather sofa?", "How do I clean a leather jacket?"),
    ("Should I sell my flat?", "Should I not sell my flat?"),
    ("How do I sort a list in Python?", "How do I sort a list in Rust?"),
    ("What does \u732b mean?", "What does \u72ac mean?"),
]
REWORDED = [
    ("How do I reset my password?", "How can I reset my password?"),
    ("What is the best way to learn French?", "What's the best way to learn French?"),
    ("How do I stop procrastinating?", "How can I stop procrastinating?"),
    ("what is photosynthesis", "What is photosynthesis?"),
]


@pytest.fixture(scope="module")
def judge() -> MiniLMParaphraseJudge:
    prepare(["bundled:same-question"])
    return MiniLMParaphraseJudge()


@pytest.mark.parametrize(("a", "b"), LOOK_ALIKES)
async def test_questions_that_only_look_alike_stay_under_the_threshold(
    judge: MiniLMParaphraseJudge, a: str, b: str
) -> None:
    assert (await judge.score(a, [b]))[0] < judge.about["threshold"]


async def test_a_reworded_question_scores_above_every_look_alike(judge: MiniLMParaphraseJudge) -> None:
    reworded = [(await judge.score(a, [b]))[0] for a, b in REWORDED]
    look_alike = [(await judge.score(a, [b]))[0] for a, b in LOOK_ALIKES]
    assert min(reworded) > max(look_alike)


async def test_it_does_not_matter_which_question_came_first(judge: MiniLMParaphraseJudge) -> None:
    for a, b in (*LOOK_ALIKES, *REWORDED):
        assert await judge.score(a, [b]) == pytest.approx(await judge.score(b, [a]), abs=1e-9)


async def test_a_pairs_score_does_not_depend_on_the_other_candidates(judge: MiniLMParaphraseJudge) -> None:
    (a, b), others = REWORDED[0], [b for _, b in LOOK_ALIKES]
    assert (await judge.score(a, [*others, b]))[-1] == (await judge.score(a, [b]))[0]


async def test_what_is_too_long_to_read_whole_is_the_same_only_when_it_is_equal(judge: MiniLMParaphraseJudge) -> None:
    identical = judge.about["identical"]
    long = "Here is the letter that we were sent about the garden fence. " * 12
    assert await judge.score(f"{long}Is it fair?", [f"{long}Is it kind?", f"{long} is it FAIR"]) == [0.0, identical]
    endless = "fence " * 200_000
    assert await judge.score(f"{endless}fair?", [f"{endless}kind?", f" {endless} fair?"]) == [0.0, identical]


async def test_words_that_the_vocabulary_lacks_are_compared_as_written(judge: MiniLMParaphraseJudge) -> None:
    assert judge.logits("What is \u1e9f\ua7ab?", "What is \u1e9f\ua7ae?") is None
    assert await judge.score("What is \u1e9f\ua7ab?", ["What is \u1e9f\ua7ae?"]) == [0.0]


async def test_a_pair_is_one_run_of_the_model_over_the_tokens_of_both_questions(
    judge: MiniLMParaphraseJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[dict[str, Any]] = []
    outputs = judge._model.outputs

    def counted(inputs: dict[str, Any]) -> Any:
        runs.append({name: values.shape for name, values in inputs.items()})
        return outputs(inputs)

    monkeypatch.setattr(judge._model, "outputs", counted)
    one, other = REWORDED[0]
    await judge.score(one, [other])
    lengths = [len(judge._model.tokenizer.encode(text).ids) for text in (one, other)]
    assert [{"first": (1, lengths[0]), "second": (1, lengths[1]), "strings": (1, len(NAMES))}] == runs


def test_a_higher_score_never_means_less_evidence_of_a_match(judge: MiniLMParaphraseJudge) -> None:
    assert np.all(np.diff(judge.about["knots"]) > 0)
    assert np.all(np.diff(judge.about["shares"]) > 0)
    mean = np.array(judge.about["mean"])
    step = np.array([1.0, *[0.0] * (len(mean) - 1)])
    found = [probability(judge.about, mean + n * step) for n in range(-8, 9)]
    assert found == sorted(found)


def test_a_score_is_the_share_of_held_out_pairs_that_were_the_same(judge: MiniLMParaphraseJudge) -> None:
    for row in judge.about["evidence"]:
        if (pairs := row["right"] + row["wrong"]) >= 50:
            assert row["from"] - 0.05 <= row["right"] / pairs <= row["to"] + 0.05
