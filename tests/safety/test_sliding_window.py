"""SlidingWindow: no character leaves before a window that contains it was shown to a scorer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.events import Token, ToolDelta
from app.safety.sliding_window import SlidingWindow


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=60), max_size=20),
    st.lists(st.booleans(), max_size=20),
    st.integers(32, 80),
    st.none() | st.integers(0, 31),
)
def test_released_text_was_always_inside_a_shown_window(
    pieces: list[str], flush: list[bool], size: int, overlap: int | None
) -> None:
    window, out = SlidingWindow(size, overlap), ""
    for piece, now in zip(pieces, flush, strict=False):
        window.add(Token(piece))
        if now:
            texts = window.texts()
            new = "".join(token.text for token in window.release())
            assert all(len(text) <= size for text in texts)
            assert all(_covered(out + new, texts)[len(out) :])
            out += new
    assert "".join(pieces).startswith(out)


def _covered(whole: str, texts: list[str]) -> list[bool]:
    """Which characters of `whole` some text contains, reading the texts from the end of `whole` backwards."""
    marks = [False] * len(whole)
    at = len(whole)
    for text in reversed(texts):
        start = whole.rfind(text, 0, at + len(text))
        assert start >= 0
        marks[start : start + len(text)] = [True] * len(text)
        at = start
    return marks


@settings(deadline=None)
@given(st.text("abc", max_size=200), st.text("abc", min_size=1, max_size=200), st.integers(1, 40), st.integers(0, 39))
def test_any_run_no_longer_than_the_overlap_and_one_is_whole_in_a_window(
    before: str, new: str, more: int, overlap: int
) -> None:
    window = SlidingWindow(overlap + more, overlap)
    window.add(Token(before))
    window.texts()
    window.release()
    window.add(Token(new))
    texts, whole = window.texts(), before + new
    for end in range(len(before) + 1, len(whole) + 1):
        run = whole[max(0, end - overlap - 1) : end]
        assert any(run in text for text in texts)


def test_an_overlap_as_long_as_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="below window"):
        SlidingWindow(32, 32)


def test_words_of_one_tool_call_are_seen_together_though_another_arrives_between() -> None:
    window = SlidingWindow(64)
    for index, said in ((0, "you id"), (1, "{}"), (0, "iot")):
        window.add(Token("", tool=ToolDelta(index, said)))
    assert window.texts() == ["you idiot", "{}"]


def test_a_phrase_across_two_releases_is_seen_whole() -> None:
    window = SlidingWindow(64)
    window.add(Token("you are an id"))
    window.texts()
    window.release()
    window.add(Token("iot"))
    assert window.texts() == ["you are an idiot"]


def test_what_arrives_while_a_window_is_scored_waits_for_the_next() -> None:
    window = SlidingWindow(64)
    window.add(Token("seen"))
    window.texts()
    window.add(Token(" unseen"))
    (released,) = window.release()
    assert released.text == "seen"
    assert window.waiting == len(" unseen")


def test_finish_reason_and_logprobs_travel_with_the_last_piece() -> None:
    window = SlidingWindow(64)
    window.add(Token("a", logprobs=[{"token": "a"}]))
    window.add(Token("b", logprobs=[{"token": "b"}], finish_reason="stop"))
    window.texts()
    assert window.release() == [Token("ab", logprobs=[{"token": "a"}, {"token": "b"}], finish_reason="stop")]


def test_text_and_each_tool_call_are_released_apart_and_in_their_order() -> None:
    window = SlidingWindow(64, known={"search", "time"})
    for token in (
        Token("Let me "),
        Token("look."),
        Token("", tool=ToolDelta(0, "", "call_1", "search")),
        Token("", tool=ToolDelta(0, '{"q":')),
        Token("", tool=ToolDelta(1, "{}", "call_2", "time")),
        Token("", finish_reason="tool_calls"),
    ):
        window.add(token)
    assert window.texts() == ["Let me look.", "call_1", '{"q":', "{}", "call_2"]
    assert window.release() == [
        Token("Let me look."),
        Token("", tool=ToolDelta(0, '{"q":', "call_1", "search")),
        Token("", tool=ToolDelta(1, "{}", "call_2", "time")),
        Token("", finish_reason="tool_calls"),
    ]
