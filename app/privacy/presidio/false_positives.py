"""Leave out what a tagger of names takes for personal and is not: programming words, bare numbers, sums.

Tagger -> [believable] -> engine. A shape that rules vouch for is not asked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app.privacy.presidio.ner import NameSpan
from app.privacy.presidio.patterns import is_near
from app.privacy.presidio.phones import WORDS
from app.privacy.presidio.technical import STANDARD, TOOLS, is_part_number, is_tool

QUANTITIES = frozenset({"AGE", "DATE_TIME", "TITLE", "NRP", "ORGANIZATION", "ZIP_CODE", "ADDRESS"})
ASKED = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|fast|often)\b"
    r"|\bwhat(?:'s| is| was| will be| percent\w*| fraction) .{0,60}\?",
    re.IGNORECASE,
)
NUMBER = re.compile(
    r"(?<![\w.])\$?\d[\d,.]{0,12}|\b(?:twice|half|double|dozen|third|two|three|four|five|six|ten|twenty)\b",
    re.IGNORECASE,
)
CODE = re.compile(
    r"^[ \t]{0,200}(?:def |class |import |from \w+ import|return\b|#include|public |private |"
    r"const |let |var |function\b|SELECT |"
    r"if ?\(|for ?\(|while ?\(|elif |else:|try:|except\b|raise |\$ |@\w+|\}|>>> |"
    r"package |use \w+::|fn |func |git |docker |pip )"
    r"|[;{}][ \t]{0,200}$|\w\(\w{0,64}\)|\w\.\w{1,64}\(|\w_\w|==|!=|=>|->|\+=|</\w{1,64}>|::",
    re.MULTILINE,
)
"""Every repetition is bounded and begins with what it cannot skip: linear time, whatever the line."""
PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]{1,30}_\d{1,4}>")
MONTHS = re.compile(r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|day|:|/|-|am|pm|\d\.\d", re.IGNORECASE)
PLACES = frozenset({"ADDRESS", "ZIP_CODE", "LOCATION"})
LINES = 12  # characters between two parts of an address
FEW = 2  # numbers that make a sum
LONG = 2500  # characters: a sum is short


def is_sum(text: str) -> bool:
    """Whether a text is an arithmetic problem: its ages, days and amounts are nobody's."""
    return len(text) < LONG and bool(ASKED.search(text)) and sum(1 for _ in NUMBER.finditer(text)) >= FEW


def is_code(text: str) -> bool:
    """Whether a text is mostly lines of a program."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(bool(CODE.search(line)) for line in lines) * 2 >= len(lines)


def believable(text: str, found: Iterable[NameSpan]) -> Iterator[NameSpan]:
    """What of this stands: a tagger's findings in a text."""
    ours = [match.span() for match in PLACEHOLDER.finditer(text)]
    code = is_code(text)
    stands: list[NameSpan] = []
    for one in found:
        if any(start < one.end and one.start < end for start, end in ours):
            continue
        if _stands(text[one.start : one.end], one.label) and not (code and _programmed(text, one)):
            stands.append(one)
    sure = [_meant(text, one) for one in stands]
    for at, one in enumerate(stands):
        beside = (side for side in (at - 1, at + 1) if 0 <= side < len(stands))
        if sure[at] or (one.label in PLACES and any(sure[side] and _lives(one, stands[side]) for side in beside)):
            yield one


def _lives(one: NameSpan, other: NameSpan) -> bool:
    """Whether the two are lines of one address."""
    return other.label in {*PLACES, "PERSON"} and max(one.start - other.end, other.start - one.end) <= LINES


def _stands(value: str, label: str) -> bool:
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    right = {
        "PHONE_NUMBER": digits >= 6,
        "ZIP_CODE": digits >= 2 and letters + digits <= 11,
        "AGE": 1 <= digits <= 3,
        "US_DRIVER_LICENSE": digits >= 5,
        "DATE_TIME": digits + letters >= 3 and bool(MONTHS.search(value)),  # a bare number is no date
        "ADDRESS": letters + digits >= 2,
    }
    return right.get(label, letters >= 2 or (letters == 1 and not value.isascii()))


def _meant(text: str, one: NameSpan) -> bool:
    """Whether what stands around it leaves it a person's."""
    value = text[one.start : one.end]
    if one.label in {"PERSON", "ORGANIZATION", "LOCATION"}:
        return not (is_tool(text, one.start, one.end) if one.label == "PERSON" else value.casefold() in TOOLS)
    check = {"PHONE_NUMBER": _called, "ADDRESS": _lived_at, "ZIP_CODE": _posted}.get(one.label)
    if check is None:
        return one.label != "DATE_TIME" or not STANDARD.search(text[max(0, one.start - 24) : one.start])
    return check(text, one, value)


def _called(text: str, one: NameSpan, value: str) -> bool:
    """A telephone number. Digits alone need a word that says so."""
    if is_near(WORDS, text, one.start, one.end):
        return True
    bare = not re.search(r"\d[ ()\-/]{1,2}\d|\+\d|\d\.\d+\.\d", value)
    return not (bare or value.startswith("0x") or is_part_number(text, one.start))


def _lived_at(text: str, one: NameSpan, value: str) -> bool:
    """An address: words with capitals, mostly with a number."""
    letters = [c for c in value if c.isalpha()]
    if not letters or (not any(c.isupper() for c in letters) and not re.search(r"\d[^,]{2,40},|[a-z]{4,} \d", value)):
        return False
    if re.search(r"\d\.\d", value) or re.match(r"[A-Z]{2,5}(?:[ -][A-Z]{0,4}\d|$)", value):
        return False
    return not is_part_number(text, one.start)


def _posted(text: str, one: NameSpan, value: str) -> bool:
    """A post code: not glued to other digits, and long enough."""
    around = text[max(0, one.start - 1) : one.start] + text[one.end : one.end + 1]
    digits, letters = sum(c.isdigit() for c in value), sum(c.isalpha() for c in value)
    if digits < 3 or any(c in "-.,:_/" for c in around[:1]) or re.match(r"[-.:]\d", text[one.end : one.end + 2]):
        return False
    return not (letters > 2 and digits > 5) and not is_part_number(text, one.start)


def _programmed(text: str, one: NameSpan) -> bool:
    """In code, a name is believed only in a comment or a string, in words with capitals."""
    before, after = text[max(0, one.start - 1) : one.start], text[one.end : one.end + 1]
    value = text[one.start : one.end]
    if one.label not in {"PERSON", "LOCATION"} or before in set("._$@:(<[\\/-") or after in set("_([.=:;{>\\/-"):
        return True
    line = text[text.rfind("\n", 0, one.start) + 1 : one.start]
    told = "#" in line or "//" in line or "*" in line or line.count('"') % 2 or line.count("'") % 2
    return not told or " " not in value.strip() or not all(word[:1].isupper() for word in value.split())
