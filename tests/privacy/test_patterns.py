"""Shapes: what is found by its form, what needs a word near it, and what is left."""

from __future__ import annotations

import pytest

pytest.importorskip("presidio_analyzer")

from app.privacy.presidio.identifiers import NEEDS, identities
from app.privacy.presidio.patterns import Rules

RULES = Rules("en")


def shown(text: str) -> set[tuple[str, str]]:
    return {(r.entity_type, text[r.start : r.end]) for r in RULES.analyze(text, RULES.supported_entities)}


# put together here, so that no scanner takes them for real ones
KEY = "sk-" + "proj-" + "Ab3" * 10
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "a1B2" * 9
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0" + ".c2lnbmF0dXJl"


@pytest.mark.parametrize("secret", [KEY, AWS, GITHUB, JWT, "xoxb-" + "123456789012-abcdef"])
def test_a_key_of_a_known_shape_is_a_secret(secret: str) -> None:
    assert ("SECRET", secret) in shown(f"use {secret} there")


def test_a_private_key_is_a_secret_from_its_first_line_to_its_last() -> None:
    block = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow" + "IBAAKCAQEA\n-----END RSA PRIVATE" + " KEY-----"
    assert ("SECRET", block) in shown(f"here:\n{block}\nbye")


def test_a_password_is_hidden_without_its_label() -> None:
    assert shown("password: correct-horse-9") == {("SECRET", "correct-horse-9")}


def test_a_function_that_asks_for_a_password_holds_none() -> None:
    assert shown("password = input(prompt)\npassword: str") == set()


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("ADDRESS", "48 Alder Grove Road", "at 48 Alder Grove Road"),
        ("ADDRESS", "PO Box 4471", "to PO Box 4471"),
        ("ADDRESS", "Lindenstra\u00dfe 14", "in der Lindenstra\u00dfe 14"),
        ("ZIP_CODE", "62701", "Springfield, IL 62701"),
        ("ZIP_CODE", "SW1A 2AA", "in SW1A 2AA"),
        ("ZIP_CODE", "90210", "zip 90210"),
        ("AGE", "87", "she is 87 years old"),
        ("DATE_TIME", "2024-03-05 10:11:12", "at 2024-03-05 10:11:12"),
        ("DATE_TIME", "March 3rd, 2020", "on March 3rd, 2020"),
        ("US_DRIVER_LICENSE", "D4827193", "my driver's license is D4827193"),
        ("URL", "https://a.example.org/x", "see https://a.example.org/x"),
        ("URL", "paperboats.net", "at paperboats.net there"),
    ],
)
def test_a_shape_is_found_as_its_kind(kind: str, value: str, text: str) -> None:
    assert (kind, value) in shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "12 steps down the road",
        "the part D4827193 is out of stock",
        "room 90210 is free",
        "in 1998 we sold 12345",
        "self.name = os.path.join(root, name)",
        "items.map(x => x.id)",
        "version 1.2.3",
    ],
)
def test_the_same_shapes_without_their_words_are_left(text: str) -> None:
    assert shown(text) == set()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("PL_PESEL", "pesel 44051401359"),
        ("UK_NHS", "NHS number 943 476 5919"),
        ("IN_AADHAAR", "aadhaar 2345 6789 0124"),
        ("ES_NIF", "DNI 12345678Z"),
        ("IT_FISCAL_CODE", "codice RSSMRA85T10A562S"),
    ],
)
def test_identity_numbers_of_several_countries_are_found_beside_their_names(kind: str, text: str) -> None:
    results = [r for one in identities("en") for r in one.analyze(text, one.supported_entities, None)]
    assert kind in {r.entity_type for r in results if r.score >= 0.3}


def test_bare_digits_that_pass_a_countrys_check_are_left_without_its_word() -> None:
    results = [
        r for one in identities("en") for r in one.analyze("lot 44051401359, 9434765919", one.supported_entities, None)
    ]
    assert [r for r in results if r.score >= 0.5] == []


def test_every_recognizer_that_is_named_is_there() -> None:
    assert len(NEEDS) == len(list(identities("en")))
