"""Stop sequences end a text where the caller would read them, however it is split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.stops import Stops

TEXTS = st.text(alphabet="abc", max_size=24)


@given(TEXTS, st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=3), st.integers(1, 5))
def test_the_first_sequence_ends_the_text(text: str, stops: list[str], size: int) -> None:
    watch, shown = Stops(stops), ""
    for at in range(0, len(text), size):
        shown += watch.feed(text[at : at + size])
        if watch.met:
            break
    if not watch.met:
        shown += watch.flush()
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    whole = Stops(stops)
    whole.feed(text)
    assert (shown == text) if not ends else (shown == text[: min(ends)] or text.startswith(shown + str(watch.met)))
    assert bool(watch.met) == bool(ends) == bool(whole.met)


def test_a_sequence_is_shown_where_that_is_asked_for() -> None:
    assert Stops(["END"], shown=True).feed("one END two") == "one END"
