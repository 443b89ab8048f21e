"""The tagger's reading: words, capitals, lines, long texts; a model of rules stands in for MiniLM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from app.models.catalog import resolve
from app.privacy.presidio.false_positives import believable, is_code, is_sum
from app.privacy.presidio.ner import LONGEST, NameSpan, Tagger, encode


class Capitals:
    """Tags every word in capitals as a PERSON."""

    about = {"labels": ["O", "PERSON"]}  # noqa: RUF012

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.from_file(f"{resolve('bundled:minilm-l6-v2')}/tokenizer.json")
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.longest = 0

    def logits(self, ids: list[int], types: list[int]) -> Any:
        self.longest = max(self.longest, len(ids))
        return np.array([[0.0, 8.0] if kind else [8.0, 0.0] for kind in types], np.float32)


@pytest.fixture
def model() -> Capitals:
    return Capitals()


def found(model: Capitals, text: str) -> list[str]:
    return [text[one.start : one.end] for one in Tagger(model)(text)]


def test_neighbouring_words_of_one_label_are_one_span(model: Capitals) -> None:
    assert found(model, "so Ann Kowalska-Nowak came") == ["Ann Kowalska", "Nowak"]


def test_a_lines_end_parts_two_names(model: Capitals) -> None:
    assert found(model, "Ann Lee\nBob Ray") == ["Ann Lee", "Bob Ray"]


def test_a_long_text_is_read_in_parts_and_every_name_is_found_once(model: Capitals) -> None:
    text = " ".join(f"then Zoltan walked on for {n} more miles" for n in range(200))
    assert found(model, text) == ["Zoltan"] * 200
    assert model.longest <= LONGEST


def test_an_empty_text_has_no_tokens(model: Capitals) -> None:
    assert found(model, "") == []


def test_places_are_of_the_original(model: Capitals) -> None:
    tokens = encode(model.tokenizer, "é Ann\nx")
    assert [tokens.places[i] for i in range(2)] == [(0, 1), (2, 5)]


def test_a_number_is_no_name_and_no_date() -> None:
    text = "12 1965 4/5/1990"
    given = [NameSpan(0, 2, "PERSON", 0.9), NameSpan(3, 7, "DATE_TIME", 0.9), NameSpan(8, 16, "DATE_TIME", 0.9)]
    assert [one.start for one in believable(text, given)] == [8]


def test_a_sum_asks_for_a_number_and_has_some() -> None:
    assert is_sum("Tom is 5 and Ann is 7. How old are they together?")
    assert not is_sum("I am 50 years old and live in Rome.")


def test_code_is_told_by_its_lines() -> None:
    assert is_code("import os\nfor name in os.listdir(root):\n    print(name)")
    assert not is_code("Dear Ann,\nI am at home.\nBob")
