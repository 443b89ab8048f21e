"""Server-sent events are read by their specification, wherever the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import EngineError
from app.engines import event_stream
from app.engines.event_stream import EventReader


def read(*pieces: bytes) -> list[str]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_ends_at_each_of_the_three_ends(end: bytes) -> None:
    assert read(b"data: a" + end + end + b"data: b" + end + end) == ["a", "b"]


def test_the_data_lines_of_an_event_are_one_text() -> None:
    assert read(b"data: {\ndata:  1\ndata\ndata:}\n\n") == ["{\n 1\n\n}"]


def test_comments_names_ids_and_events_without_data_say_nothing() -> None:
    assert read(b": hello\n\nevent: ping\nid: 3\nretry: 9\n\nevent: x\ndata: 1\n\n") == ["1"]


def test_a_byte_order_mark_is_skipped_once() -> None:
    assert read(b"\xef\xbb", b"\xbfdata: \xef\xbb\xbf1\n\n") == ["\ufeff1"]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_separators_do_not_end_a_line(mark: str) -> None:
    assert read(f"data: a{mark}b\n\n".encode()) == [f"a{mark}b"]


def test_the_last_event_needs_no_blank_line() -> None:
    assert read(b"data: 1\n\ndata: 2") == ["1", "2"]


def test_what_is_no_text_reads_as_the_replacement_character() -> None:
    assert read(b"data: a\xffb\n\n") == ["a\ufffdb"]


def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LONGEST_EVENT", 100)
    with pytest.raises(EngineError):
        read(*[b"data: " + b"x" * 30] * 9)
    with pytest.raises(EngineError):
        read(*[b"data: " + b"x" * 30 + b"\n"] * 9)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=4),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.data(),
)
def test_it_reads_the_same_wherever_it_is_cut(texts: list[str], end: str, data: st.DataObject) -> None:
    body = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read(*pieces) == texts
