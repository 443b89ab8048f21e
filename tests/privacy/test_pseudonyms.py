"""Names for personal data: hashes that only the installation can make, stand-ins that are nobody's and come back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import Span
from app.core.vault import Vault
from app.privacy.pseudonyms import FAMILY, GIVEN, Hashed, Redacted, Surrogates, luhn

KEY = b"k" * 32


def stand_in(original: str, kind: str, *texts: str) -> str | None:
    return Surrogates(KEY, "acme", [original, *texts])(original, kind)


def test_redacted_is_the_kind_alone_and_nothing_comes_back() -> None:
    vault = Vault(Redacted())
    spans = [Span(0, 3, "PERSON", 1), Span(8, 11, "PERSON", 1)]
    assert "<PERSON> met <PERSON>" == vault.hide("Ann met Bob", spans)
    assert ({}, ("<PERSON>", "<PERSON>")) == (vault.originals, vault.shape)


def test_a_hash_is_the_same_for_the_same_original_and_another_for_another_key_tenant_or_kind() -> None:
    one = Hashed(KEY, "acme")("Ann Smith", "PERSON")
    assert re.fullmatch(r"<PERSON_[0-9a-f]{8}>", one)
    assert one == Hashed(KEY, "acme")("ANN  smith", "PERSON")
    others = [
        Hashed(KEY, "acme")("Ann Smyth", "PERSON"),
        Hashed(KEY, "globex")("Ann Smith", "PERSON"),
        Hashed(b"another", "acme")("Ann Smith", "PERSON"),
        Hashed(KEY, "acme")("Ann Smith", "ORGANIZATION").replace("ORGANIZATION", "PERSON"),
    ]
    assert 5 == len({one, *others})


def test_the_words_of_our_lists_do_not_begin_one_another() -> None:
    words = [word.lower() for word in (*GIVEN, *FAMILY)]
    assert not [(a, b) for a in words for b in words if a is not b and b.startswith(a)]


@pytest.mark.parametrize(
    ("original", "kind", "shape"),
    [
        ("Ann Smith", "PERSON", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("ANN SMITH", "PERSON", r"[A-Z]+ [A-Z]+"),
        ("ann smith", "PERSON", r"[a-z]+ [a-z]+"),
        ("J. R. Smith", "PERSON", r"[A-Z]\. [A-Z]\. [A-Z][a-z]+"),
        ("李雷", "PERSON", r"[A-Z][a-z]+"),
        ("ann@corp.com", "EMAIL_ADDRESS", r"[a-z]+\.\d{3}@example\.org"),
        ("https://ann.dev/me", "URL", r"https://[a-z]+\d\d\.example"),
        ("+48 601 234 567", "PHONE_NUMBER", r"\+99 9\d\d \d{3} \d{3}"),
        ("(415) 867-5309", "PHONE_NUMBER", r"\(\d{3}\) 555-01\d\d"),
        ("4111-1111 1111 1111", "CREDIT_CARD", r"\d{4}-\d{4} \d{4} \d{4}"),
        ("GB82 WEST 1234 5698 7654 32", "IBAN_CODE", r"GB00 [A-Z]{4} \d{4} \d{4} \d{4} \d\d"),
        ("536-22-8726", "US_SSN", r"000-\d\d-\d{4}"),
        ("10.1.2.3", "IP_ADDRESS", r"203\.0\.113\.\d{3}"),
        ("fe80::1:2", "IP_ADDRESS", r"2001:db8::[0-9a-f]{4}"),
        ("3c:22:fb:01:02:03", "MAC_ADDRESS", r"00:00:5E:00:53:[0-9A-F]{2}"),
        ("12 Elm St\nSpringfield", "ADDRESS", r"\d{3} [A-Z][a-z]+ Street"),
        ("X1234567Z", "PASSPORT", r"[A-Z]\d{7}[A-Z]"),
    ],
)
def test_a_stand_in_is_of_the_same_kind_and_shape_and_not_the_original(original: str, kind: str, shape: str) -> None:
    made = stand_in(original, kind)
    assert made is not None
    assert re.fullmatch(shape, made)
    assert made != original
    assert made == stand_in(original, kind, "another turn")


@pytest.mark.parametrize(
    ("original", "kind"),
    [
        ("42", "AGE"),
        ("Monday", "DATE_TIME"),
        ("12345", "ZIP_CODE"),
        ("J.", "PERSON"),
        ("--", "PERSON"),
        ("7", "PHONE_NUMBER"),
    ],
)
def test_what_could_stand_anywhere_gets_no_stand_in(original: str, kind: str) -> None:
    assert stand_in(original, kind) is None


@given(st.integers(10**12, 10**19 - 1))
def test_a_cards_stand_in_never_passes_the_check(number: int) -> None:
    made = stand_in(str(number), "CREDIT_CARD")
    assert made is not None
    assert len(str(number)) == len(made)
    assert not luhn(made)


def test_luhn_knows_a_card() -> None:
    assert luhn("4111 1111 1111 1111")
    assert not luhn("4111 1111 1111 1112")


def test_the_words_of_a_name_stand_for_the_same_words_everywhere() -> None:
    names = Surrogates(KEY, "acme", ["Ann Smith", "Ann"])
    whole = names("Ann Smith", "PERSON")
    assert whole is not None
    assert whole.split()[0] == names("Ann", "PERSON")
    assert dict(zip(whole.split(), ["Ann", "Smith"], strict=True)) == names.parts


def test_a_word_that_somebody_wrote_is_no_stand_in_and_when_all_are_taken_there_is_none() -> None:
    said = " ".join((*GIVEN, *FAMILY)).lower()
    assert stand_in("Ann Smith", "PERSON", said) is None
    assert stand_in("Ann", "PERSON", " ".join(GIVEN[1:])) == GIVEN[0]
    names = Surrogates(KEY, "acme", [])
    made = [names(f"Name{chr(65 + at)}x", "PERSON") for at in range(26)] + [
        names(f"N{at}ame", "PERSON") for at in range(30)
    ]
    assert len(GIVEN) == len({name for name in made if name})
