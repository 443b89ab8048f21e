"""Letters that pass for others, and check digits."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.text import LOOK_ALIKES, look_alikes, luhn


def test_only_letters_of_other_alphabets_pass_for_ascii_ones() -> None:
    assert {"L"} == {unicodedata.category(chr(letter))[0] for letter in LOOK_ALIKES}
    assert not [letter for letter in LOOK_ALIKES if chr(letter).isascii()]
    assert all(len(ours) == 1 and ours.isascii() and ours.isalnum() for ours in LOOK_ALIKES.values())


@pytest.mark.parametrize("disguised", ["p\u0430ypal", "g\u03bf\u03bfgle", "\u0261ood", "\u1d18lain", "\u13d4est"])
def test_disguised_words_read_as_what_they_look_like(disguised: str) -> None:
    assert disguised.translate(LOOK_ALIKES).lower() in {"paypal", "google", "good", "plain", "west"}


def test_a_part_of_the_table_holds_no_other_letter() -> None:
    assert {0x430: "a", 0x3BF: "o"} == look_alikes("\u0430\u03bf")


@pytest.mark.parametrize("number", ["4111 1111 1111 1111", "378282246310005", "79927398713"])
def test_a_number_with_its_right_check_digit_passes(number: str) -> None:
    assert luhn(number)


@given(st.text("0123456789", min_size=12, max_size=18))
def test_one_check_digit_in_ten_is_right(digits: str) -> None:
    assert 1 == sum(luhn(f"{digits}{check}") for check in range(10))
