"""Which of the found personal data is hidden: by type, score and the tenant's lists, in every text alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import Span
from app.privacy.spans import Wanted, chosen, merged

TEXT = "Ann Smith of Apollo Ltd, ann@x.org"
FOUND = [Span(0, 9, "PERSON", 0.85), Span(13, 23, "ORGANIZATION", 0.6), Span(25, 34, "EMAIL_ADDRESS", 1.0)]


def hidden(text: str, found: list[Span], **wanted: object) -> list[tuple[str, str]]:
    (spans,) = chosen([text], [found], Wanted(**wanted))  # type: ignore[arg-type]
    return [(text[span.start : span.end], span.type) for span in spans]


def test_types_and_score_choose() -> None:
    assert [("Ann Smith", "PERSON")] == hidden(TEXT, FOUND, types=frozenset({"PERSON", "ORGANIZATION"}), threshold=0.7)


def test_what_is_allowed_is_never_hidden_in_any_case_or_spacing() -> None:
    allow = frozenset({"ANN  smith", "Ann@X.org"})
    assert [("Apollo Ltd", "ORGANIZATION")] == hidden(TEXT, FOUND, allow=allow)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the APOLLO  ltd plans", ["APOLLO  ltd"]),
        ("Apollos and xApollo Ltd", []),
        ("apollo ltd, Apollo Ltd", ["apollo ltd", "Apollo Ltd"]),
        ("(C++)", ["C++"]),
    ],
)
def test_what_is_denied_is_hidden_as_whole_words_in_any_case(text: str, seen: list[str]) -> None:
    deny = frozenset({"Apollo Ltd", "Apollo", "C++"})
    assert [(said, "CUSTOM") for said in seen] == hidden(text, [], deny=deny, types=frozenset())


def test_what_both_lists_name_is_hidden() -> None:
    both = frozenset({"ann smith"})
    assert [("Ann Smith", "CUSTOM")] == hidden("Ann Smith left", [Span(0, 9, "PERSON", 1)], allow=both, deny=both)


def test_a_denied_word_within_a_name_hides_the_whole_name() -> None:
    assert [("Ann Smith", "PERSON")] == hidden("Ann Smith left", FOUND[:1], deny=frozenset({"smith"}))


def test_what_was_seen_in_one_text_is_hidden_in_all() -> None:
    texts = ["I am Ann Smith, 555-0142.", "Hello Ann Smith! Call 555-0142, not 1555-01423. Ann waits."]
    spans = [[Span(5, 14, "PERSON", 0.9), Span(16, 24, "PHONE_NUMBER", 0.9)], []]
    first, second = chosen(texts, spans, Wanted())
    assert ["Ann Smith", "555-0142"] == [texts[0][span.start : span.end] for span in first]
    assert ["Ann Smith", "555-0142"] == [texts[1][span.start : span.end] for span in second]


def test_one_word_alone_is_not_looked_for_elsewhere() -> None:
    texts = ["I am Will.", "Will you come?"]
    assert [[Span(5, 9, "PERSON", 0.9)], []] == chosen(texts, [[Span(5, 9, "PERSON", 0.9)], []], Wanted())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=12))
def test_merged_spans_are_sorted_apart_and_cover_the_same(drawn: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + size, "PERSON", 1.0) for start, size in drawn]
    out = merged(spans)
    assert all(a.end <= b.start for a, b in zip(out, out[1:], strict=False))
    cover = {at for span in spans for at in range(span.start, span.end)}
    assert cover == {at for span in out for at in range(span.start, span.end)}
