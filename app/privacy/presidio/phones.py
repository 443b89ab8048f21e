"""Recognize telephone numbers of many countries, as people write them.

engine -> [Phones]. A run of digits is a number's if it is written as one, if a word like `call` stands near it, or
if it is valid in some country. Dates, amounts, cards and sums that look alike are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import phonenumbers
from presidio_analyzer import EntityRecognizer, RecognizerResult

from app.core.text import luhn
from app.privacy.presidio.patterns import is_near
from app.privacy.presidio.technical import is_part_number

RUN = re.compile(
    r"(?<![\w.,+(/$-])(?:\+|\()?\d[\d ().\-/\u00a0]{4,28}\d(?:[ ]?(?:x|ext\.?|extension)[ ]?\d{1,6})?(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)
WORDS = re.compile(
    r"\b(?:call(?:ed|ing)?|phone|tel|telephone|mobile|cell|fax|ring|dial|reach|whatsapp|sms|text me|hotline|contact|"
    r"answering|office|home|number is|landline|voicemail)\b",
    re.IGNORECASE,
)
NOT_ONES = re.compile(
    r"\d{3}-\d{2}-\d{4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d.*|\d{4} ?[-/] ?\d{4}|"
    r"\d{1,3}(?:[ ,.]\d{3})+|[\d ]+[-/] [\d ]+|\d+ [-/] ?\d+|\d+(?:\.\d+){3}|\d+\.\d+"
)
WRITTEN = (
    (re.compile(r"\+\d[\d ().\-/]{6,}.*"), 0.85),
    (re.compile(r"\(\d{2,5}\)[ .-]?\d{2,4}[ .-]?\d{2,5}(?:[ .-]?\d{1,4})?(?:\D+\d{1,6})?"), 0.75),
    (re.compile(r"(?:001[ .-]|1[ .-])?\d{3}([.-])\d{3}\1\d{4}(?:\D+\d{1,6})?"), 0.75),
    (re.compile(r"\d{3} \d{3} \d{4}(?:\D+\d{1,6})?"), 0.65),
    (re.compile(r"00\d{1,3}[ .-]\d[\d ().-]{5,}"), 0.75),
    (re.compile(r"\d{2}([ -])\d{2}\1\d{2}\1\d{2}(?:\1\d{2})?"), 0.65),
    (re.compile(r"0\d{1,4}[ /-]\d{2,4}[ -]\d{2,4}(?:[ -]\d{2,4})?"), 0.7),
    (re.compile(r"0\d{1,4}[ /-]\d{6,8}"), 0.7),
)
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "SE", "CH", "AU", "IN", "BR", "MX", "ZA")
SURE, LIKELY = 0.75, 0.6


class Phones(EntityRecognizer):  # type: ignore[misc]
    """PHONE_NUMBER. The score says how it was told: written so, near a word, or only valid somewhere."""

    def __init__(self, supported_language: str) -> None:
        super().__init__(supported_entities=["PHONE_NUMBER"], supported_language=supported_language, name="Phones")

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:  # noqa: ARG002
        """Every run of digits that is one."""
        return [RecognizerResult("PHONE_NUMBER", start, end, score) for start, end, score in phones(text)]


def phones(text: str) -> Iterator[tuple[int, int, float]]:
    """(start, end, score) of every telephone number."""
    for match in RUN.finditer(text):
        run, start = match[0], match.start()
        digits = sum(c.isdigit() for c in run)
        if not 6 <= digits <= 21 or NOT_ONES.fullmatch(run) or is_card(run):
            continue
        score = _score(text, run, start, match.end(), digits)
        if score:
            yield start, match.end(), score


def _score(text: str, run: str, start: int, end: int, digits: int) -> float:
    near = is_near(WORDS, text, start, end)
    if not near and is_part_number(text, start):
        return 0.0
    if run.isdigit():
        return SURE if near and digits <= 15 and _valid(run) else 0.0
    for shape, score in WRITTEN:
        if shape.fullmatch(run):
            return max(score, SURE) if near else score
    if near:
        return SURE
    return LIKELY if run[0] in "+(0" and _valid(run) else 0.0


def _valid(run: str) -> bool:
    for region in REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(run, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def is_card(run: str) -> bool:
    """Luhn's check, of 13 to 19 digits."""
    return 13 <= sum(c in "0123456789" for c in run) <= 19 and luhn(run)
