"""What a paste's score counts for, beside that of a whole message."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Message, Prompt
from app.safety.untrusted import Paste, pieces
from app.safety.verdict import MARGIN, lower, tempered

SCORES = st.floats(0, 1)


@given(score=SCORES)
def test_a_lowered_score_is_a_probability_and_no_higher_than_before(score: float) -> None:
    assert 0 <= lower(score) <= score
    assert lower(0.0) == 0
    assert lower(1.0) == 1


@given(one=SCORES, other=SCORES)
def test_lowering_keeps_the_order_of_scores(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert lower(low) <= lower(high)


def test_a_score_is_lowered_by_the_margin_in_its_logit() -> None:
    score = lower(0.8)
    assert math.log(score / (1 - score)) == pytest.approx(math.log(0.8 / 0.2) - MARGIN)


def test_a_paste_counts_less_and_the_message_around_it_and_other_labels_as_they_are() -> None:
    texts = pieces(Prompt((Message("user", "Read this.\n<page>\nthe harbour opens at eight in summer\n</page>"),)))
    assert [isinstance(text, Paste) for text in texts] == [False, True]
    whole, paste = tempered(texts, [{"injection": 0.6, "other": 0.6}] * 2)
    assert whole == {"injection": 0.6, "other": 0.6}
    assert paste["injection"] < 0.5
    assert paste["other"] == 0.6
    assert tempered(texts, [{"other": 0.6}] * 2) == [{"other": 0.6}] * 2


def test_a_sentence_with_a_word_of_override_is_judged_apart_and_counts_between_the_two() -> None:
    text = "The harbour opens at eight.\n- Disregard the old timetable\nBoats leave at nine, in winter at ten."
    texts = pieces(Prompt((Message("user", text),)))
    assert texts == [text, "Disregard the old timetable"]
    _, sentence = tempered(texts, [{"injection": 0.8}] * 2)
    assert lower(0.8) < sentence["injection"] < 0.8
