"""Recognize shapes, in Presidio's framework: addresses, post codes, ages, dates, titles, licences, secrets, URLs.

engine -> [Rules]. What a shape alone does not prove needs a word near it: `zip`, `licence`, `password`. Every
repetition is bounded, so that no text takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

BEFORE, AFTER = 48, 24  # characters in which a word counts as near


@dataclass(frozen=True)
class Rule:
    """A shape. group: of the match, what is personal. near: a word that must stand near it."""

    kind: str
    shape: re.Pattern[str]
    score: float
    near: re.Pattern[str] | None = None
    group: int = 0


def rule(kind: str, shape: str, score: float, near: str = "", *, case: bool = True, group: int = 0) -> Rule:
    """near: words in lower case, as one pattern; case: whether the shape minds it."""
    close = re.compile(rf"\b(?:{near})", re.IGNORECASE) if near else None
    return Rule(kind, re.compile(shape, 0 if case else re.IGNORECASE), score, close, group)


def is_near(near: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Whether one of the words stands a little before or after."""
    return bool(near.search(text, max(0, start - BEFORE), min(len(text), end + AFTER)))


_UP = r"(?:[A-Z\u00c0-\u00de][\w.'\u2019-]{0,30}[ \t]){1,4}"
_WAYS = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Terrace|Place|Pl|Parkway|Pkwy|"
    "Highway|Hwy|Circle|Cir|Crescent|Close|Alley|Way|Row|Mews|Quay|Trail|Turnpike|Crossing|Heights"
)
_UNIT = r"(?:Apt|Apartment|Suite|Ste|Unit|Flat)\b\.?[ \t]{0,2}#?[ \t]?\d{1,5}[A-Za-z]?\b"
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?)"
)
_STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]|"
    "A[AEP]|PR|GU|VI|MP"
)
_ZIP = r"zip|post(?:al)?[ -]?code|plz|cap\b|postleitzahl"
_LICENSE = r"driv(?:er|ing|ers|er's|er\u2019s)[ -]{0,2}s?'?[ ]?(?:lic|perm)|licen[cs]e|\bDL\b"
_TLDS = (
    "com|org|net|edu|gov|mil|int|io|co|biz|ai|app|dev|uk|de|fr|es|it|nl|be|at|ch|se|dk|fi|pl|cz|sk|hu|ro|gr|pt|ie|us|"
    "ca|au|nz|jp|cn|in|br|mx|ar|cl|ru|ua|tr|za|eu|lt|lv|ee|si|hr|bg|il|kr|sg|hk|tw|th|vn|ph|ng|ke|uy|tn|online|site|shop"
)

RULES: Sequence[Rule] = (
    # -- places one can be found at ----------------------------------------------------------------------------------
    rule("ADDRESS", rf"\b\d{{1,6}}[A-Za-z]?,?[ \t]{_UP}(?:{_WAYS})\b\.?(?:,?[ \t]{{1,2}}{_UNIT})?", 0.75),
    rule("ADDRESS", rf"\b{_UNIT}", 0.6),
    rule("ADDRESS", r"\b(?:P\.? ?O\.? ?Box|POB|PSC \d{1,5},? Box)[ \t]{1,2}#?\d{1,6}\b", 0.75, case=False),
    rule("ADDRESS", r"\b(?:APO|FPO|DPO)[ \t](?:A[AEP])[ \t]\d{5}(?:-\d{4})?\b", 0.8),
    rule(
        "ADDRESS",
        r"\b[A-Z\u00c0-\u00de][\w-]{2,30}(?:stra(?:\u00dfe|sse)|gasse|allee|platz|gatan|vej|straat|"
        r"gade)[ \t]\d{1,4}[a-zA-Z]?\b",
        0.75,
    ),
    rule(
        "ADDRESS",
        r"\b\d{1,4}(?: bis| ter)?,?[ \t](?:rue|avenue|boulevard|chemin|impasse|all\u00e9e|"
        r"quai)[ \t](?:d\w{0,2}[ '\u2019])?(?:l[a'\u2019] ?)?[\w'\u2019-]{2,30}",
        0.75,
    ),
    rule(
        "ADDRESS",
        r"\b(?:ul\.|al\.|ulica)[ \t][\w.-]{2,30}(?:[ \t][A-Z\u00c0-\u00de][\w-]{1,30})?[ \t]\d{1,4}"
        r"(?:/\d{1,4})?",
        0.75,
        case=False,
    ),
    rule("ZIP_CODE", r"\b\d{5}(?:-\d{4})?\b|\b[A-Z]{0,2}-?\d{2,4}[ -]?\d{2,3}\b|\b\d{4}(?: ?[A-Z]{2})?\b", 0.7, _ZIP),
    rule("ZIP_CODE", rf"(?<![A-Z])(?:{_STATES})\b,?[ \t]{{1,2}}(\d{{5}}(?:-\d{{4}})?)\b", 0.8, group=1),
    rule("ZIP_CODE", r"\b(?:[A-Z]{1,2}\d[A-Z\d]?) \d[ABD-HJLNP-UW-Z]{2}\b", 0.7),
    rule("ZIP_CODE", r"\b[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] ?\d[ABCEGHJ-NPRSTV-Z]\d\b", 0.7),
    # -- a person's age, title, days -----------------------------------------------------------------------------------
    rule(
        "AGE",
        r"\b(\d{1,3})[ -](?:years?|yrs?)[ -]?(?:old|of age)\b|\b(?:aged|at the age of) (\d{1,3})\b",
        0.7,
        case=False,
    ),
    rule("AGE", r"\bage:? (\d{1,3})\b", 0.6, r"name|nationality|patient|dob|sex|gender", case=False),
    rule("TITLE", r"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof|Sr|Rev)\.(?=\s)|\b(?:Mrs?|Ms|Dr|Miss|Prof)(?= [A-Z])", 0.7),
    rule(
        "DATE_TIME",
        r"\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|"
        r"3[01])(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,6})?Z?)?\b",
        0.75,
    ),
    rule(
        "DATE_TIME",
        r"(?<![\d/.])(?:0?[1-9]|[12]\d|3[01])([/.])(?:0?[1-9]|[12]\d|3[01])\1(?:(?:19|20)\d\d|"
        r"(?<=/)\d\d)(?![\d/])(?!\.\d)",
        0.75,
    ),
    rule(
        "DATE_TIME",
        r"(?<![\d/.])(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|1[0-2])\.\d\d(?![\d/])(?!\.\d)",
        0.7,
        r"born|birth|dob|geb|date|datum|vom|seit|since|until|bis|n\u00e9e?|due|appointment|termin|am \d",
        case=False,
    ),
    rule("DATE_TIME", rf"\b{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b", 0.7),
    rule("DATE_TIME", rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b(?:,? \d{{4}})?", 0.7),
    rule("DATE_TIME", r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b", 0.6),
    # -- numbers that only a word near them explains -------------------------------------------------------------------
    rule(
        "US_DRIVER_LICENSE",
        r"\b(?=[A-Z]{0,3}\d)(?=[A-Z\d-]{0,17}\d{4})[A-Z]{0,3}\d[A-Z\d-]{4,16}\b",
        0.7,
        _LICENSE,
        case=False,
    ),
    rule("US_PASSPORT", r"\b[A-Z]?\d{8,9}\b", 0.7, r"passport", case=False),
    rule(
        "US_BANK_NUMBER",
        r"\b\d{8,17}\b",
        0.6,
        r"(?:bank )?account (?:no|num|#|is)|acct|routing|direct deposit|checking",
    ),
    rule("US_ITIN", r"\b9\d{2}-[5-9]\d-\d{4}\b", 0.7),
    # -- what opens doors ----------------------------------------------------------------------------------------------
    rule("SECRET", r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct)?[-_]?[A-Za-z0-9_-]{16,200}", 0.95),
    rule("SECRET", r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b", 0.98),
    rule(
        "SECRET",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{16,64})",
        0.98,
    ),
    rule("SECRET", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,200}", 0.98),
    rule(
        "SECRET",
        r"\b(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,300}|hf_[A-Za-z0-9]{20,64}|"
        r"npm_[A-Za-z0-9]{30,64}|SG\.[\w-]{16,32}\.[\w-]{32,64}|pypi-[\w-]{20,250})",
        0.98,
    ),
    rule("SECRET", r"\beyJ[A-Za-z0-9_-]{8,3000}\.[A-Za-z0-9_-]{8,6000}\.[A-Za-z0-9_-]{0,1000}", 0.98),
    rule(
        "SECRET",
        r"-----BEGIN (?:[A-Z]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s:,.\\-]{0,120"
        r"00}?-----END (?:[A-Z]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s]{0,12000})",
        0.99,
    ),
    rule("SECRET", r"\bbearer[ \t]{1,4}([A-Za-z0-9._~+/-]{16,2000}={0,2})", 0.9, case=False, group=1),
    rule(
        "SECRET",
        r"\b(?:password|passwd|passphrase|pwd|api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|"
        r"auth[_-]?token|client[_-]?secret)[\"']?[ \t]{0,3}(?:=|"
        r":)[ \t]{0,3}[\"']?(?=[^\s\"']*[\d!$%&*#@^+-])([^\s\"',;(){}<>\[\]]{6,200})",
        0.85,
        case=False,
        group=1,
    ),
    rule("SECRET", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,64}:([^\s/@]{3,128})@", 0.9, case=False, group=1),
    # -- the net -------------------------------------------------------------------------------------------------------
    rule("URL", r"\b(?:https?|ftp)://[^\s<>\"'()\[\]{}]{3,2000}", 0.8, case=False),
    rule(
        "URL",
        r"(?<![\w@./-])www\.[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}(?:/[^\s<>\"'()\[\]{}]{0,2000})?",
        0.8,
        case=False,
    ),
    rule(
        "URL",
        rf"(?<![\w@./\\-])(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.){{1,5}}(?:{_TLDS})\b(?![\w(=\[]|\.\w| ?=|"
        rf"-\w)(?:/[^\s<>\"'()\[\]{{}}]{{0,2000}})?",
        0.6,
    ),
)


class Rules(EntityRecognizer):  # type: ignore[misc]
    """Many rules as one recognizer."""

    def __init__(self, supported_language: str, rules: Sequence[Rule] = RULES, name: str = "Rules") -> None:
        self._rules = rules
        kinds = sorted({rule.kind for rule in rules})
        super().__init__(supported_entities=kinds, supported_language=supported_language, name=name)

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:  # noqa: ARG002
        """Every match of a rule of these kinds."""
        return [found for rule in self._rules if rule.kind in entities for found in _matches(rule, text)]


def _matches(rule: Rule, text: str) -> list[RecognizerResult]:
    found = []
    for match in rule.shape.finditer(text):
        start, end = match.span(rule.group)
        if not rule.group and rule.kind == "AGE":  # the number, not the words around it
            start, end = next(match.span(n) for n in range(1, len(match.groups()) + 1) if match[n])
        if rule.near is None or is_near(rule.near, text, start, end):
            found.append(RecognizerResult(rule.kind, start, end, rule.score))
    return found
