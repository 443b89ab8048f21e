"""What of an answer is judged by itself: every new sentence, and nothing that was judged before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.safety.sentences import LONGEST, sentences
from tests.examples import examples


def test_each_sentence_stands_alone() -> None:
    assert ["Thank you!", "You fool.", "And so on it goes"] == sentences("Thank you! You fool. And so on it goes", 0)


def test_a_sentence_of_few_words_that_has_just_begun_waits_for_more() -> None:
    assert ["Thank you!"] == sentences("Thank you! You are", 0)


def test_a_clause_of_some_words_stands_alone_too() -> None:
    said = "Thanks for that, you are a silly old fool, sir."
    assert [said, "you are a silly old fool,"] == sentences(said, 0)


def test_lines_part_sentences_and_dots_in_numbers_do_not() -> None:
    assert ["It is 3.14", "or so."] == sentences("It is 3.14\nor so.", 0)


def test_sentences_that_were_over_before_are_not_told_again() -> None:
    assert ["You fool."] == sentences("Thank you! You fool.", len("Thank you! "))
    assert ["Thank you!", "You fool."] == sentences("Thank you! You fool.", len("Thank y"))


@settings(deadline=None, max_examples=examples(80))
@given(st.text("ab .\n", max_size=900), st.integers(0, 900))
def test_the_end_is_always_told_and_no_piece_is_longer_than_the_longest(text: str, new: int) -> None:
    found = sentences(text, new)
    assert all(len(piece) <= LONGEST and piece in text for piece in found)
    if not any(mark in text for mark in ".\n") and text[new:].strip() and text.strip().count(" ") > 4:
        assert text.rstrip()[-20:].strip() in found[-1]
