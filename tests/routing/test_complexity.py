"""LinearComplexity on the shipped head: which prompts it ranks higher, and how much of a long one it reads."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from app.models.catalog import resolve
from app.models.encoder import MiniLMEncoder
from app.models.errors import ModelError
from app.routing.complexity import LinearComplexity
from app.routing.features import FORMS, NAMES, READ, shape
from evals.complexity_splits import recovered, splits

EASY = ("What is the capital of Spain?", "Give me three names for a cat.", "How long does it take to boil an egg?")
HARD = (
    "Implement a lock-free multi-producer queue in C++20 with hazard pointers and prove that it is linearizable.",
    "Let G be a finite group whose order is 2p^2 for an odd prime p. Classify all such groups up to isomorphism.",
    "Refactor this so that it streams, add types and tests:\n```python\ndef f(a):\n  return [g(x) for x in a]\n```",
)


@pytest.fixture(scope="module")
def head():
    return LinearComplexity()


@pytest.fixture(scope="module")
def encoder():
    return MiniLMEncoder()


async def test_every_hard_prompt_scores_above_every_easy_one(head, encoder):
    vectors = await encoder.encode([*EASY, *HARD])
    scores = [await head.score(text, vector) for text, vector in zip((*EASY, *HARD), vectors, strict=True)]
    assert max(scores[: len(EASY)]) < min(scores[len(EASY) :])


async def test_easy_prompts_stay_below_the_suggested_threshold_of_the_medium_tier(head, encoder):
    vectors = await encoder.encode(EASY)
    for text, vector in zip(EASY, vectors, strict=True):
        assert await head.score(text, vector) < head.about["suggested"]["medium"]


def test_the_suggested_thresholds_rise_with_the_tier(head):
    suggested = head.about["suggested"]
    assert 0 < suggested["medium"] < suggested["large"] < 1


def test_the_head_beats_prompt_length_on_subjects_it_was_not_trained_on(head):
    measured = head.about["measured"]["gap recovered on unseen subjects"]
    for ours, length in zip(measured["head"], measured["length"], strict=True):
        assert ours > length + 0.05


def test_hard_prompts_were_told_from_ordinary_ones_on_held_out_rows(head):
    measured = head.about["measured"]["hard prompts, AUC"]
    assert measured["ordinary"] > 0.97
    assert all(auc > 0.7 for auc in measured.values())


LONG = pytest.mark.parametrize(
    "text",
    [
        "Explain why { x => y }; must hold for 12 steps. \n" * 2000,
        "\n" * 100_000,
        "; " * 50_000,
        " " * 100_000,
        "\nA. one\nB. two\nC. three" * 5000,
        "what is 1 how many 2 " * 5000,
    ],
    ids=["words", "empty lines", "semicolons", "blanks", "options", "questions"],
)


@LONG
def test_of_a_long_text_the_beginning_and_the_length_are_read_and_nothing_else(text):
    form, numbers = shape(text)
    other_form, others = shape(text[:READ] + "\0" * (len(text) - READ))
    assert other_form == form
    assert numbers.tolist() == others.tolist()


@LONG
@pytest.mark.timeout(60)  # seconds: in quadratic time it would be hours
def test_what_is_read_is_read_in_linear_time(text, monkeypatch):
    monkeypatch.setattr("app.routing.features.READ", 10**6)
    form, _ = shape(text * (10**6 // len(text)))
    assert form in FORMS


async def test_an_empty_prompt_needs_no_stronger_model(head):
    assert await head.score(" \n", np.zeros(384, np.float32)) == 0.0


async def test_a_vector_of_another_encoder_is_refused(head):
    with pytest.raises(ModelError, match=r"reads 384 numbers, .* \(768,\): retrain it"):
        await head.score("hello", np.zeros(768, np.float32))


ODD = {
    "empty": "",
    "a letter": "a",
    "a NUL": "\0",
    "braces": "{" * 100_000,
    "steps": "1. " * 10_000,
    "Chinese": "数" * 5000,
    "lone surrogates": "\ud800\udfff" * 1000,
    "mixed scripts": "Что такое λ? 数は何ですか {}; " * 100,
    "binary": bytes(range(256)).decode("latin-1") * 100,
    "options without words": "\nA.\nB.\nC.\nD.",
    "a megabyte": "why " * 262_144,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
async def test_any_text_has_finite_features_and_a_score_of_0_to_1(head, text):
    form, found = shape(text)
    assert form in FORMS
    assert found.shape == (len(NAMES),)
    assert np.isfinite(found).all()
    assert 0 <= await head.score(text, np.full(384, 384**-0.5, np.float32)) <= 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("exam", "Which of these flies?\nA. Bat\nB. Cat\nC. Rat\nD. Goat\nAnswer:"),
        ("exam", "Which of these flies?\n(A) Bat\n(B) Cat"),
        ("sum", "Ann has 3 boxes of 12 eggs and breaks seven. How many eggs are left?"),
        ("open", "How many eggs should I eat?"),
        ("open", "A. is for apple"),
        ("open", "for (i = 0; i < 10; i++) {\n  x += 2;\n}\nHow many times does it run?"),
        ("open", ""),
    ],
)
def test_the_form_of_a_prompt_is_read_from_its_shape(form, text):
    assert shape(text)[0] == form


def test_features_tell_what_their_names_say():
    text = "Which is NOT true of 12 and 30?\nA. Both are even.\nB. 7\nC. 9\nD. None of these\nAnswer:"
    found = dict(zip(NAMES, shape(text)[1], strict=True))
    assert found["statements: loud negation"] == 1
    assert found["options: numbers"] == pytest.approx(0.5)
    assert found["options: all or none"] == 1
    assert found["numbers: all"] == pytest.approx(math.log1p(2))
    assert found["ending: question"] == 1


async def test_an_explanation_names_the_form_and_the_groups_that_moved_the_score_most(head, encoder):
    why = {}
    for name, text in (("hard", HARD[0]), ("easy", EASY[0])):
        (vector,) = await encoder.encode([text])
        why[name] = head.explain(text, vector)
    assert why["hard"]["form"] == why["easy"]["form"] == "open"
    groups = {name.split(":")[0] for name in NAMES} | {"topic"}
    for said in why.values():
        moved = list(said["why"].values())
        assert set(said["why"]) <= groups
        assert moved == sorted(moved, key=abs, reverse=True)
    assert sum(why["hard"]["why"].values()) > sum(why["easy"]["why"].values())


async def test_an_explanation_of_all_groups_adds_up_to_the_score(head, encoder, monkeypatch):
    monkeypatch.setattr("app.routing.complexity.SHOWN", 99)
    text = "Which is a prime number?\nA. 21\nB. 23\nC. 25\nD. 27\nAnswer:"
    (vector,) = await encoder.encode([text])
    bias = float(load_file(Path(resolve("bundled:complexity-head")) / "head.safetensors")["bias"][0])
    moved = sum(head.explain(text, vector)["why"].values())
    assert await head.score(text, vector) == pytest.approx(moved + bias, abs=0.02)


def test_a_head_for_other_features_is_refused(tmp_path):
    folder = Path(resolve("bundled:complexity-head"))
    (tmp_path / "head.safetensors").write_bytes((folder / "head.safetensors").read_bytes())
    about = json.loads((folder / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps({**about, "features": about["features"][::-1]}))
    with pytest.raises(ModelError, match="other features: train it with this version"):
        LinearComplexity(f"path:{tmp_path}")


def test_a_router_that_knows_the_outcomes_recovers_more_than_everything_and_ties_count_alike():
    gain = np.array([1, 0, 0, -1, 0, 0, 1, 1, 0, 0], np.float32)
    assert recovered(gain, gain, 0.3) == pytest.approx(1.5)
    assert recovered(np.zeros(10), gain, 0.3) == pytest.approx(0.3)
    assert math.isnan(recovered(gain, np.zeros(10), 0.3))


def test_no_subject_is_on_both_sides_of_a_split():
    sources = [f"mmlu_{n}" for n in range(10) for _ in range(5)] + ["gsm8k"] * 10
    for train, test in splits(sources, know_word_problems=True):
        sides = [{sources[i] for i in rows} - {"gsm8k"} for rows in (train, test)]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 3
        assert sorted([*train, *test]) == list(range(60))
