"""Telephone numbers as people write them, and what only looks like one."""

from __future__ import annotations

import pytest

from app.privacy.presidio.phones import is_card, phones


def shown(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in phones(text)]


@pytest.mark.parametrize(
    "number",
    [
        "+48 601 234 567",
        "(415) 555-0132",
        "415-555-0132",
        "415.555.0132x221",
        "001-415-555-0132",
        "20-32-85-26",
        "06 12 34 56 78",
        "030 2345678",
        "+44 (0)20 7946 0958",
        "0161 496 0345",
    ],
)
def test_a_number_is_found_by_how_it_is_written(number: str) -> None:
    assert shown(f"it is {number}.") == [number]


def test_bare_digits_need_a_word_near_them() -> None:
    assert shown("call 4155550132 now") == ["4155550132"]
    assert shown("batch 4155550132 is done") == []


@pytest.mark.parametrize(
    "text",
    [
        "from 1939-1945",
        "on 2024-03-05",
        "on 12/05/2024",
        "1,299.00",
        "1 200 000",
        "10.20.30.40",
        "12 - 5 = 7",
        "4111 1111 1111 1111",
        "219-09-9999",
        "pages 120 / 240",
        "v3.11.4",
        "3.14159265",
    ],
)
def test_dates_amounts_and_cards_are_no_telephone_numbers(text: str) -> None:
    assert shown(text) == []


def test_a_card_needs_its_check_digit() -> None:
    assert is_card("4111 1111 1111 1111")
    assert not is_card("4111 1111 1111 1112")
