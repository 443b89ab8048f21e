"""Find the texts that a text carries encoded: base64, hex, bits, escapes, ROT13, backwards, invisible characters.

A caller's text -> [hidden] -> the injection judge. Pure; linear in the text's length, and bounded by the limits below.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote

MOST = 8  # texts found
LONGEST = 65_536  # characters of one encoded stretch, and of a text read backwards or by ROT13
DEPTH = 3  # an encoding inside an encoding inside an encoding

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:;-]?){12,}")
_BITS = re.compile(r"(?:[01]{8}\s?){8,}")
_URL = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(r"&#(?:x[0-9A-Fa-f]{1,6}|[0-9]{1,7});")
_UNICODE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")  # each may carry a byte
_WORDS = re.compile(r"[a-z]{3,15}")
# Common words that are no words backwards or by ROT13.
_TELLING = re.findall(
    r"\w+",
    "and are previous ignore instruction instructions system prompt reveal password secret you your the all this that "
    "with from have what please rules forget write print tell",
)
_ROT13 = frozenset(codecs.encode(word, "rot13") for word in _TELLING)
_BACKWARDS = frozenset(word[::-1] for word in _TELLING)


def hidden(text: str) -> list[str]:
    """The texts encoded in `text`, at most MOST, each printable and of at least 8 characters; `[]` in ordinary text."""
    found: dict[str, None] = {}
    level = [text]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in islice(_inside(outer), MOST) if inner not in found]
        found.update(dict.fromkeys(level))
    return list(found)[:MOST]


def _inside(text: str) -> Iterator[str]:
    for decode in (_invisible, _escapes, _base64, _hex, _bits, _turned):
        for inner in decode(text):
            inner = inner.strip("\0 \n")  # noqa: PLW2901 - what is left of it
            if inner != text and _reads(inner):
                yield inner


def _reads(text: str) -> bool:
    """Whether it is text: long enough, printable, mostly letters and blanks."""
    if len(text) < 8:
        return False
    sample = text[:2000]
    printable = sum(char.isprintable() or char in "\n\r\t" for char in sample)
    letters = sum(char.isalpha() or char == " " for char in sample)
    return printable >= 0.97 * len(sample) and letters >= 0.7 * len(sample)


def _utf8(data: bytes) -> Iterator[str]:
    for name in ("utf-16-le", "utf-8") if 3 * data.count(0) > len(data) else ("utf-8", "utf-16-le"):
        try:
            yield data.decode(name)
        except UnicodeDecodeError:
            continue
        return


def _base64(text: str) -> Iterator[str]:
    for match in islice(_BASE64.finditer(text), 64 * MOST):
        code = "".join(match[0][:LONGEST].split()).replace("-", "+").replace("_", "/")
        code = code[: len(code) - (len(code) % 4 == 1)]
        try:
            yield from _utf8(base64.b64decode(code + "=" * (-len(code) % 4)))
        except (binascii.Error, ValueError):
            continue


def _hex(text: str) -> Iterator[str]:
    for match in islice(_HEX.finditer(text), 64 * MOST):
        code = re.sub(r"0x|\\x|[^0-9A-Fa-f]", "", match[0][:LONGEST])
        yield from _utf8(bytes.fromhex(code[: len(code) // 2 * 2]))


def _bits(text: str) -> Iterator[str]:
    for match in islice(_BITS.finditer(text), MOST):
        code = "".join(match[0][:LONGEST].split())
        yield from _utf8(bytes(int(code[at : at + 8], 2) for at in range(0, len(code) - 7, 8)))


def _escapes(text: str) -> Iterator[str]:
    """The whole text with its URL, HTML or JSON escapes resolved, when there are several."""
    text = text[: 4 * LONGEST]
    if "%" in text and len(list(islice(_URL.finditer(text), 4))) > 3:
        yield unquote(text, errors="replace").replace("+", " ")
    if "&#" in text and len(list(islice(_ENTITY.finditer(text), 4))) > 3:
        yield html.unescape(text)
    if "\\" in text and len(list(islice(_UNICODE.finditer(text), 4))) > 3:
        yield _UNICODE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def _invisible(text: str) -> Iterator[str]:
    """ASCII as tag characters, or bytes as variation selectors: neither is seen, and models read both."""
    if text.isascii():
        return
    if tags := "".join(_TAGS.findall(text)):
        yield "".join(chr(ord(char) - 0xE0000) for char in tags[:LONGEST])
    for match in islice(_SELECTORS.finditer(text), MOST):
        codes = (ord(char) for char in match[0][:LONGEST])
        yield from _utf8(bytes(code - 0xFE00 if code < 0xFFFF else code - 0xE0100 + 16 for code in codes))


def _turned(text: str) -> Iterator[str]:
    """The text by ROT13 or backwards, when at least two of its words are telling ones so."""
    text = text[:LONGEST]
    words = set(_WORDS.findall(text.lower()))
    if len(words & _ROT13) > 1:
        yield codecs.encode(text, "rot13")
    if len(words & _BACKWARDS) > 1:
        yield text[::-1]
