"""Undo what hides words from a judge: look-alike letters, invisible characters, spaced letters, digits for letters.

A caller's text -> [plain, app/safety/decode.py] -> the judges. Pure and linear in the text's length. What comes out is
read by judges only: nothing here changes what the engine is asked.
"""

from __future__ import annotations

import re
import unicodedata

from app.core.text import look_alikes

CHUNK = 512  # NFKC sorts runs of accents in quadratic time: a run is never longer than this

LONGEST_WORD = 24
NEAR = 3  # words to either side
GRAM = 6  # words that repeat

WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        above access administrator anything assistant attack bypass censored commands conversation developer directives
        disable disclose disregard enable everything exploit filter filters follow forget guardrails guidelines hidden
        ignore illegal initial instruction instructions internal jailbreak limitations maintenance message messages mode
        nothing output override password passwords policies policy previous pretend print prior prompt prompts release
        repeat restrictions reveal rules safety secret secrets security system tell token unfiltered unlock unrestricted
        verbatim your
        """,
    )
)
"""What digits may stand for letters in, unless another list is given."""

_LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The letters that the judges were measured on: more of Cyrillic would take genuine words for disguised ones.
_CYRILLIC = "аеорсухіјѕԁһӏԛԝѵкнАВЕКМНОРСТУХІЈЅԌ"
_GREEK = "αβεικνορτυχγηωϲΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
_ARMENIAN = "օոսհցզԼՏՍՕ"
_CHEROKEE = "ᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏂᏃᏎᏏᏒᏔᏙᏚᏞᏟᏢᏦᏴ"  # noqa: RUF001
_ALIKE = look_alikes(_CYRILLIC + _GREEK + _ARMENIAN + _CHEROKEE)
# Letters that no language writes words in: always Latin ones, dressed up, which NFKC leaves as they are.
_SMALL = look_alikes("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɡɑ")
_BOXED = {first + n: _LATIN[n] for first in (0x1F150, 0x1F170, 0x1F1E6) for n in range(26)}
_DRESSED = _SMALL | _BOXED
_LEET = str.maketrans("0134578@$!|€+", "oieastbasiiet")
_LEET_L = str.maketrans("0134578@$!|€+", "oleastbasllet")  # 1, ! and | are an L as often

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff\ufdfa\ufdfb]"  # the last two: whole phrases as one sign, 18 letters by NFKC
)
_BLANK = re.compile("[\u200b\u2060\ufeff]+")
_RUN = re.compile(r"\S+")  # such blanks are no `\s`
_WORD = re.compile(r"[^\W\d_]+")
_SPACED = re.compile(r"(?<![^\W_])[A-Za-z](?:([ ._*|~+/-])[A-Za-z](?![^\W_])){3,}")
_LEETED = re.compile(r"[A-Za-z0-9@$!|€+]{4,40}")


def plain(text: str, words: frozenset[str] = WORDS) -> str:
    """What a reader sees in `text`, in ordinary letters. words: lower-case words to find behind digits (`1gn0re`).

    Genuine Cyrillic, Greek, Chinese and accented text comes back as it is, apart from NFKC.
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", _RUN.sub(_parted, text) if _BLANK.search(text) else text)
        text = "".join(unicodedata.normalize("NFKC", text[at : at + CHUNK]) for at in range(0, len(text), CHUNK))
        text = _letters(text.translate(_DRESSED))
    elif _INVISIBLE.search(text):
        text = _INVISIBLE.sub("", text)
    text = _SPACED.sub(_joined, text)
    return _LEETED.sub(lambda found: _unleet(found[0], words), text)


def once(text: str) -> str:
    """`text` without what it repeats: a word goes when the GRAM words that end with it stood there before."""
    words = text.split()
    seen: set[int] = set()
    kept = []
    for at, word in enumerate(words):
        gram = hash(tuple(words[max(0, at - GRAM + 1) : at + 1]))
        if at < GRAM or gram not in seen:
            kept.append(word)
        seen.add(gram)
    return " ".join(kept)


def _parted(found: re.Match[str]) -> str:
    """Zero-width blanks inside a word fall away; where they are all that parts the words, they are blanks."""
    whole = _BLANK.sub("", found[0])
    return whole if len(whole) <= LONGEST_WORD else _BLANK.sub(" ", found[0])


def _joined(found: re.Match[str]) -> str:
    """The letters without what stands between. Blanks between may hide words' ends: they cannot be told."""
    return found[0][::2]


def _unleet(word: str, words: frozenset[str]) -> str:
    if word.isalpha() or word.isdigit():
        return word
    core = word.rstrip("!|+")  # these end sentences more often than they stand for a letter
    for table in (_LEET, _LEET_L):
        for seen in (word, core):
            if (meant := seen.lower().translate(table)) in words and not seen.isalpha():
                return meant + word[len(seen) :]
    return word


def _letters(text: str) -> str:
    """Look-alikes to Latin letters, in words that mix alphabets or are wholly look-alike among no genuine ones."""
    found = list(_WORD.finditer(text))
    kinds = [_kind(word[0]) for word in found]
    out, end = [], 0
    for n, (word, kind) in enumerate(zip(found, kinds, strict=True)):
        foreign = "genuine" in kinds[max(0, n - NEAR) : n + NEAR + 1]  # such a neighbour: so is this word
        if kind == "mixed" or (kind == "alike" and not foreign):
            out += [text[end : word.start()], word[0].translate(_ALIKE)]
            end = word.end()
    return "".join([*out, text[end:]])


def _kind(word: str) -> str:
    """`latin`, `alike`: every letter passes for a Latin one, `mixed`: Latin and look-alikes, `genuine`: any other."""
    if word.isascii():
        return "latin"
    alike = [letter for letter in word if ord(letter) in _ALIKE]
    if len(alike) == len(word):
        return "alike"
    if not alike or not any(letter in _LATIN for letter in word):
        return "genuine"
    return "mixed"
