"""Plain text for patterns: what hides data is gone, and every place leads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.presidio.normalize import plain


@pytest.mark.parametrize(
    ("seen", "given_as"),
    [
        ("a1", "a1"),
        ("ab", "a\u200bb"),
        ("123", "\uff11\uff12\uff13"),
        ("1-2", "1\u20132"),
        ("a b", "a\u00a0b"),
        ("paul", "p\u0430ul"),
        ("\u043f\u0430\u0443\u043b", "\u043f\u0430\u0443\u043b"),
        ("\ufffd", "\ud800"),
    ],
)
def test_hidden_text_reads_as_what_it_looks_like(seen: str, given_as: str) -> None:
    assert plain(given_as).text == seen


def test_a_word_of_another_script_stays_in_it() -> None:
    assert plain("Анна Ерёмина").text == "Анна Ерёмина"


@given(st.text(alphabet=st.characters(), max_size=60))
def test_every_place_leads_back_into_the_original(text: str) -> None:
    seen = plain(text)
    for at in range(len(seen.text)):
        start, end = seen.original(at, at + 1)
        assert end == start + 1
        assert end <= len(text)
        assert plain(text[start:end]).text[:1] == seen.text[at] or text[start].isalpha()
