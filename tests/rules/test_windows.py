"""SlidingWindow: no character leaves before a window that contains it was shown to a scorer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.events import Token, ToolDelta
from app.rules.windows import SlidingWindow


@given(st.lists(st.text(max_size=60), max_size=20), st.lists(st.booleans(), max_size=20), st.integers(32, 80))
def test_released_text_was_always_inside_a_shown_window(pieces: list[str], flush: list[bool], size: int) -> None:
    window, shown, out = SlidingWindow(size), [], ""
    for piece, now in zip(pieces, flush, strict=False):
        window.add(Token(piece))
        if now:
            texts = window.texts()
            shown += texts
            new = "".join(token.text for token in window.release())
            if new.strip():
                assert all(len(text) <= size for text in texts)
                covered = _covered(out + new, texts)
                assert all(covered[len(out) :])
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
    window = SlidingWindow(64)
    for token in (
        Token("Let me "),
        Token("look."),
        Token("", tool=ToolDelta(0, "", "call_1", "search")),
        Token("", tool=ToolDelta(0, '{"q":')),
        Token("", tool=ToolDelta(1, "{}", "call_2", "time")),
        Token("", finish_reason="tool_calls"),
    ):
        window.add(token)
    assert window.texts() == ['Let me look.{"q":{}']
    assert window.release() == [
        Token("Let me look."),
        Token("", tool=ToolDelta(0, '{"q":', "call_1", "search")),
        Token("", tool=ToolDelta(1, "{}", "call_2", "time")),
        Token("", finish_reason="tool_calls"),
    ]
