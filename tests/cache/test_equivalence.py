"""Whether a stored answer would have done: equal ones would, contradicting ones would not, the rest is for vectors."""

from __future__ import annotations

import numpy as np
import pytest

from app.cache.equivalence import PIECE, PIECES, alike, cosine, pieces


@pytest.mark.parametrize(
    ("fresh", "stored"),
    [
        ("Paris.", "paris"),
        ("**Paris** is the capital.", "Paris is the  capital"),
        ("It is 3.5 km.", "It is 3.5 km"),
        ("Dear <PERSON_1>, hello", "Dear <PERSON_1>: hello!"),
    ],
)
def test_answers_that_differ_in_case_blanks_and_marks_are_the_same(fresh: str, stored: str) -> None:
    assert alike(fresh, stored) is True


@pytest.mark.parametrize(
    ("fresh", "stored"),
    [
        ("It takes 37 weeks.", "It takes 35 weeks."),
        ("It costs 3.5 euros", "It costs 35 euros"),
        ("-5 degrees", "5 degrees"),
        ("Yes, you can take both.", "No, you can take both."),
        ("You can take both.", "You cannot take both."),
        ("You should mix these.", "You shouldn't mix these."),
        ("The capital is Paris.", "The capital is Lyon."),
        ("It is generally safe in small amounts.", "It is generally unsafe in small amounts."),
        ("Write to <PERSON_1>.", "Write to <PERSON_2>."),
        ("```\nx = 1\n```", "```\ny = 1\n```"),
    ],
)
def test_answers_with_other_numbers_names_sides_or_code_are_not(fresh: str, stored: str) -> None:
    assert alike(fresh, stored) is False
    assert alike(stored, fresh) is False


@pytest.mark.parametrize(
    ("fresh", "stored"),
    [
        ("The capital of France is Paris.", "Paris is the capital of France."),
        ("1. Boil water\n2. Add tea", "- Boil the water\n- Then add the tea"),
        ("Yes, because ice is less dense.", "Yes. Ice has a lower density than water."),
    ],
)
def test_answers_in_other_words_are_left_to_their_vectors(fresh: str, stored: str) -> None:
    assert alike(fresh, stored) is None


def test_answers_too_long_to_be_read_whole_must_be_equal() -> None:
    long = "word " * (PIECE * PIECES // 5 + 1)
    assert alike(long, long) is True
    assert alike(long, long + "and more") is False


def test_pieces_hold_the_whole_answer_and_an_empty_one_has_one() -> None:
    assert "".join(pieces("ab " * 600)) == "ab " * 600
    assert pieces("") == [" "]


def test_the_cosine_of_answers_is_that_of_their_pieces_means() -> None:
    x, y = np.eye(2, dtype=np.float32)
    assert cosine(x[None], x[None]) == 1
    assert cosine(x[None], y[None]) == 0
    assert cosine(np.stack([x, y]), np.stack([y, x])) == pytest.approx(1)
    assert cosine(np.stack([x, -x]), x[None]) == 0
