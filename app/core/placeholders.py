# ruff: noqa: RUF001 - other scripts are what this is about
r"""How a model spells a placeholder that it was given as `<PERSON_1>`.  [placeholders] -> restorer, vault.

`PERSON_1`, `< person 1 >`, `[PERSON_1]`, `&lt;PERSON_1&gt;`, `\u003cPERSON_1\u003e`, `<PERSON\_1>`, in full width, or
in the answer's language: all of them say the same. What stands in brackets may be in any case; what stands bare must
be spelt as an identifier, so that `person 1` of a play stays one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
KINDS = frozenset({
    "PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "US_ITIN", "IP_ADDRESS",
    "MAC_ADDRESS", "STREET_ADDRESS", "ADDRESS", "LOCATION", "GPE", "ORGANIZATION", "DOMAIN_NAME", "DATE_TIME",
    "ZIP_CODE", "NRP", "SECRET", "CUSTOM", "US_PASSPORT", "US_DRIVER_LICENSE", "US_BANK_NUMBER", "MEDICAL_LICENSE",
    "UK_NHS", "CRYPTO", "PASSPORT",
})  # fmt: skip
"""Types of which a numbered name that nobody gave is one that the model made up."""
ALIASES: Mapping[str, str] = {
    "PERSON": "NAME PERSONNE PERSONA PESSOA PERSOON OSOBA KISI KİŞİ NOM NOMBRE NOME ПЕРСОНА ЧЕЛОВЕК ЛИЦО ИМЯ ОСОБА "
    "人物 人 姓名 个人 個人 氏名 사람 이름 व्यक्ति नाम شخص الشخص اسم",
    "EMAIL_ADDRESS": "EMAIL E_MAIL MAIL EMAIL_ADRESSE E_MAIL_ADRESSE ADRESSE_EMAIL ADRESSE_E_MAIL CORREO "
    "DIRECCIÓN_DE_CORREO ENDEREÇO_DE_EMAIL INDIRIZZO_EMAIL АДРЕС_ЭЛЕКТРОННОЙ_ПОЧТЫ ПОЧТА "
    "邮箱 电子邮件 メールアドレス 이메일",
    "PHONE_NUMBER": "PHONE TELEPHONE TELEFON TELEFONNUMMER TÉLÉPHONE NUMÉRO_DE_TÉLÉPHONE TELÉFONO NÚMERO_DE_TELÉFONO "
    "TELEFONO TELEFONE ТЕЛЕФОН НОМЕР_ТЕЛЕФОНА 电话 电话号码 電話番号 전화번호",
    "LOCATION": "ORT LIEU LUGAR LUOGO LOCAL МЕСТО 地点 場所 장소",
    "GPE": "ORT LIEU LUGAR LUOGO LOCAL LOCATION МЕСТО 地点 場所 장소",
    "ORGANIZATION": "ORGANISATION ORGANIZACIÓN ORGANIZAÇÃO ORGANIZZAZIONE ОРГАНИЗАЦИЯ 组织 組織 기관",
    "STREET_ADDRESS": "ADDRESS ADRESSE DIRECCIÓN ENDEREÇO INDIRIZZO АДРЕС 地址 住所 주소",
    "CREDIT_CARD": "CARD CREDIT_CARD_NUMBER CARD_NUMBER KREDITKARTE",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "IP_ADDRESS": "IP",
    "DATE_TIME": "DATE DATUM FECHA DATA ДАТА 日期 日付",
}
"""What a type is called as well: counted where one alone of the call's names can be meant, and only in brackets."""
UNKNOWN = "[unknown]"
"""What the caller reads for a placeholder that nobody gave out."""
WINDOW = 160
"""No spelling has more characters."""

_SEP = r"[\s\\_\-\u2010-\u2015\u200b\u2060\u00ad]{1,4}"
_MARK = r"[*_`~\"'\s\\]{0,4}"
_ANGLES = (("<", ">"), ("&lt;", "&gt;"), ("&amp;lt;", "&amp;gt;"), ("&#60;", "&#62;"), ("&#x3c;", "&#x3e;"),
           ("%3c", "%3e"), ("‹", "›"), ("«", "»"), ("〈", "〉"), ("《", "》"), ("⟨", "⟩"))  # fmt: skip
_ESCAPED = (("u003c", "u003e"), ("x3c", "x3e"), ("<", ">"), ("[", "]"))
_SQUARES = (("[", "]"), ("{", "}"), ("{{", "}}"), ("【", "】"), ("［", "］"))
_WORDS = rf"(?P<word>[^\W\d_]{{1,24}}(?:{_SEP}[^\W\d_]{{1,24}}){{0,4}})(?:{_SEP})?0{{0,3}}(?P<number>\d{{1,6}})"
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_WIDTH = re.compile("[\uff01-\uff5e]")
_APART = re.compile(r"[\W_]+")


def narrow(text: str) -> str:
    """Full width as ASCII, character by character: places stay what they are."""
    return text.translate(_WIDE) if _WIDTH.search(text) else text


def kind(word: str) -> str:
    r"""`email\_address` as `EMAIL_ADDRESS`."""
    return _APART.sub("_", word).strip("_").upper()


def meant(kinds: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What each of these types may be called -> the types that it may be."""
    found: dict[str, tuple[str, ...]] = {}
    for one in kinds:
        for name in (one, *ALIASES.get(one, "").split()):
            found[name] = (*found.get(name, ()), one)
    return found


@lru_cache(256)
def spelling(kinds: frozenset[str]) -> re.Pattern[str]:
    """Every spelling of a placeholder: in brackets of any name, bare of these types alone.

    Groups: word, number; or bare, digits.
    """
    pairs = [
        *((re.escape(a), re.escape(b)) for a, b in (*_ANGLES, *_SQUARES[1:])),
        *((rf"\\{{1,4}}{re.escape(a)}", rf"\\{{1,4}}{re.escape(b)}") for a, b in _ESCAPED),
    ]
    words = _WORDS.replace("?P<word>", "").replace("?P<number>", "")
    square = rf"\[{_MARK}{words}{_MARK}\](?!\()"
    bracketed = "|".join([square, *(rf"(?i:{a}){_MARK}{words}{_MARK}/?(?i:{b})" for a, b in pairs)])
    return re.compile(
        rf"(?P<bracketed>{bracketed})|(?P<bare>{_bare(kinds)})" if kinds else rf"(?P<bracketed>{bracketed})"
    )


_INSIDE = re.compile(_WORDS)
_ENDS = re.compile(
    r"\A(?:\\{1,4}(?:u003c|x3c)|&(?:amp;)?(?:lt|#60|#x3c);|%3c)|(?:\\{1,4}(?:u003e|x3e)|&(?:amp;)?(?:gt|#62|#x3e);|%3e)\Z",
    re.IGNORECASE,
)
"""Brackets that are spelt with letters or digits."""


def read(spelt: str) -> tuple[str, int]:
    """Name and number of a spelling: `[person 1]` as PERSON, 1."""
    inside = _INSIDE.search(_ENDS.sub("", spelt))
    return (kind(inside["word"]), int(inside["number"])) if inside else ("", 0)


def _bare(kinds: frozenset[str]) -> str:
    upper = "|".join(_SEP.join(map(re.escape, one.split("_"))) for one in sorted(kinds, key=len, reverse=True))
    other = "|".join(
        r"\\?_".join(_either(part) for part in one.split("_")) for one in sorted(kinds, key=len, reverse=True)
    )
    name = rf"(?:(?:{upper}){_SEP}|(?:{other})\\?_)"
    return rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_){name}\d{{1,6}}(?![A-Za-z0-9])(?!_[A-Za-z0-9])"


def _either(part: str) -> str:
    return f"(?:{re.escape(part.lower())}|{re.escape(part.title())})"


# -- what may still become one ------------------------------------------------------------------------


@lru_cache(256)
def beginning(kinds: frozenset[str]) -> re.Pattern[str]:
    r"""What stands at a text's end and may go on to be a spelling of these types: each way ends with `\Z`."""
    pairs = (*_ANGLES, *_SQUARES)
    part = [_prefixes(b[:-1]) for _, b in pairs if len(b) > 1]
    closing = "|".join([*part, rf"\\{{1,4}}(?:\Z|{'|'.join(_prefixes(b[:-1]) for _, b in _ESCAPED if len(b) > 1)})"])
    number = rf"(?:{_SEP})?(?:\Z|\d{{1,9}}(?:\Z|{_MARK}/?(?:\Z|{closing}|\]\Z)))"
    opening = "|".join(
        [*(_prefixes(a) for a, _ in pairs), rf"\\{{1,4}}(?:\Z|{'|'.join(_prefixes(a) for a, _ in _ESCAPED)})"]
    )
    opened = "|".join([*(re.escape(a) for a, _ in pairs), *(rf"\\{{1,4}}{re.escape(a)}" for a, _ in _ESCAPED)])
    inside = rf"{_MARK}(?:\Z|{_either_way({*meant(kinds), *KINDS}, number)})"
    ways = [opening, rf"(?:{opened}){inside}"]
    if kinds:
        ways.append(rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)(?:{_either_way(kinds, number)})")
    return re.compile("|".join(ways), re.IGNORECASE)


def _either_way(names: Iterable[str], last: str) -> str:
    """A beginning of one of these names, at the end; or a whole one, and `last`."""
    whole = "|".join(_SEP.join(map(re.escape, name.split("_"))) for name in sorted(names))
    return rf"{_tree(sorted(names))}|(?:{whole}){last}"


def _prefixes(text: str) -> str:
    r"""`a(?:\Z|b(?:\Z|c\Z))` for `abc`."""
    pattern = r"\Z"
    for at, char in enumerate(reversed(text)):
        pattern = rf"{re.escape(char)}(?:\Z|{pattern})" if at else rf"{re.escape(char)}\Z"
    return pattern


def _tree(names: list[str]) -> str:
    """Every beginning of these names, at the end."""
    heads: dict[str, list[str]] = {}
    for name in names:
        heads.setdefault(name[0], []).append(name[1:])
    ways = []
    for head, rests in heads.items():
        more = [rest for rest in rests if rest]
        below = rf"|{_tree(more)}" if more else ""
        ways.append(rf"{_SEP if head == '_' else re.escape(head)}(?:\Z{below})")
    return "|".join(ways)
