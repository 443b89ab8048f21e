"""What personal data is called where a tenant wants no placeholder: nothing, a keyed hash, or a stand-in.

scrub -> [pseudonyms] -> vault. Stand-ins look like what they stand for, so that a model that stumbles over `<PERSON_1>`
writes naturally; they are nobody's: addresses at example.org, cards that pass no check, numbers that are not given out.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from app.core.text import luhn
from app.privacy.spans import DENIED

GIVEN = (
    "Alwen", "Brisa", "Corrin", "Davin", "Elira", "Fenwick", "Galian", "Hestia", "Isolde", "Jarek", "Keverne",
    "Lorcan", "Mirela", "Nevin", "Orsolya", "Peregrin", "Quillon", "Rosalba", "Severin", "Tamsin", "Ulric",
    "Valda", "Wystan", "Xanthe", "Yorick", "Zerlina", "Anselm", "Bettina", "Casmir", "Demelza", "Evander", "Fiora",
    "Gideon", "Halcyon", "Ignatia", "Jessamy", "Kerensa", "Lysander", "Morwenna", "Norbert",
)  # fmt: skip
FAMILY = (
    "Abernale", "Brockhurst", "Calloway", "Dunmere", "Eastlake", "Farrowby", "Greythorn", "Hollister",
    "Inglewell", "Jesperson", "Kirkbride", "Lindqvor", "Marchbank", "Netherby", "Ormsgard", "Pellinor",
    "Quarrington", "Ravenshaw", "Stanhollow", "Thistlewick", "Underbrook", "Vandermoor", "Wetherly", "Yarborne",
    "Zellwood", "Ashcombe", "Birkenfold", "Cresswood", "Drummore", "Ellerstone", "Fallowden", "Gisborough",
    "Harkaway", "Ilkenham", "Kettlewell", "Longmire", "Merriden", "Northcote", "Oakhanger", "Penhallow",
)  # fmt: skip
"""Invented or rare: few texts hold them, so that one in an answer is a stand-in."""
TRIES = 24
SHORT = 6
"""Fewer letters and digits than these say too little: another text may well hold the same."""
_ALNUM = re.compile(r"[0-9A-Za-z]")

Make = Callable[["Surrogates", str, Iterator[int]], str | None]


class Redacted:
    """`<PERSON>`: every person the same, and none comes back."""

    restored = False
    parts: Mapping[str, str] = {}

    def __call__(self, original: str, kind: str) -> str:  # noqa: ARG002 - that is the point
        return f"<{kind}>"


class Hashed:
    """`<PERSON_a1b2c3d4>`: the same for the same original of a tenant, in every call; it does not come back.

    Keyed, so that nobody can find a telephone number by hashing all of them. key: of the installation.
    """

    restored = False
    parts: Mapping[str, str] = {}

    def __init__(self, key: bytes, tenant: str) -> None:
        self._key = key
        self._tenant = tenant

    def __call__(self, original: str, kind: str) -> str:
        """Case and blanks do not matter: `ANN  SMITH` is Ann Smith."""
        return f"<{kind}_{_digest(self._key, 'hash', self._tenant, kind, ' '.join(original.split())).hex()[:8]}>"


class Surrogates:
    """The same original gets the same stand-in in every turn of a conversation; it comes back in the answer.

    texts: of the whole call. No stand-in is made of a word that stands in them, nor used twice.
    """

    restored = True

    def __init__(self, key: bytes, tenant: str, texts: Iterable[str]) -> None:
        self.parts: dict[str, str] = {}
        self._key = key
        self._tenant = tenant
        self._said = "\n".join(texts).casefold()
        self._used: set[str] = set()
        self._words: dict[str, str] = {}
        self._bases: dict[str, str] = {}  # a word of our lists, or what it makes -> whose it is

    def __call__(self, original: str, kind: str) -> str | None:
        """None: no stand-in of this kind is sure to be told from other text."""
        make = MAKERS.get(kind, _scrambled)
        draws = self._draws(kind, original)
        for _ in range(TRIES):
            name = make(self, original, draws)
            if name is None:
                return None
            if name not in self._used and name.casefold() not in self._said:
                self._used.add(name)
                return name
        return None

    def person(self, original: str) -> str | None:
        """Word by word, so that `Ann` is the same one in `Ann Smith`, in the case that it was written in."""
        words = original.split()
        names = [self._word(word, first=not at) for at, word in enumerate(words)]
        if None in names or not any(len(name or "") > len("J.") for name in names):
            return None
        left = iter(names)
        return re.sub(r"\S+", lambda _: str(next(left)), original)

    def base(self, whose: str, words: Sequence[str]) -> str | None:
        """One of `words` that stands for nothing else in this call and that nobody wrote; None: all are taken."""
        start = next(self._draws("word", whose))
        for at in range(len(words)):
            word = words[(start + at) % len(words)]
            if self._bases.get(word, whose) == whose and word.casefold() not in self._said:
                self._bases[word] = whose
                return word
        return None

    def _word(self, word: str, *, first: bool) -> str | None:
        if word in self._words:
            return self._words[word]
        if not re.search(r"\w\w", word):  # an initial, or only marks
            initial = chr(ord("A") + next(self._draws("initial", word)) % 26)
            return re.sub(r"\w", initial, word)
        # Two spellings of which only one can be told by its case are two words: each must come back as it was.
        spelling = word.casefold() if _cased(word, word.title()) == word else word
        base = self.base(spelling, GIVEN if first else FAMILY)
        if base is None:
            return None
        name = _cased(word, base)
        if self.parts.setdefault(name, word) != word:
            return None
        self._words[word] = name
        return name

    def _draws(self, *about: str) -> Iterator[int]:
        for turn in count():
            digest = _digest(self._key, "stand-in", self._tenant, *about, str(turn))
            yield from (int.from_bytes(digest[at : at + 4]) for at in range(0, 32, 4))


def _digest(key: bytes, *about: str) -> bytes:
    whole = "\0".join(about).casefold().encode("utf-8", "surrogatepass")
    return hmac.digest(key, whole, "sha256")


def _cased(like: str, word: str) -> str:
    if like.isupper():
        return word.upper()
    return word.lower() if like.islower() else word


# -- one for each kind -----------------------------------------------------------------------------


def _person(names: Surrogates, original: str, _: Iterator[int]) -> str | None:
    return names.person(original)


def _email(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    base = names.base(original.casefold(), GIVEN)
    return base and f"{base.lower()}.{next(draws) % 900 + 100}@example.org"


def _domain(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    scheme = re.match(r"[a-z]+://", original)
    base = names.base(original.casefold(), FAMILY)
    return base and f"{scheme[0] if scheme else ''}{base.lower()}{next(draws) % 90 + 10}.example"


def _organization(names: Surrogates, original: str, _: Iterator[int]) -> str | None:
    base = names.base(original, FAMILY)
    return base and f"{base} Holdings"


def _place(names: Surrogates, original: str, _: Iterator[int]) -> str | None:
    base = names.base(original, FAMILY)
    return base and f"Port {base}"


def _address(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    base = names.base(original, FAMILY)
    return base and f"{next(draws) % 900 + 100} {base} Street"


def _ip(_: Surrogates, original: str, draws: Iterator[int]) -> str:
    """Of the ranges that are kept for documentation."""
    if ":" in original:
        return f"2001:db8::{next(draws) % 0xF000 + 0x1000:x}"
    return f"203.0.113.{next(draws) % 155 + 100}"


def _mac(_: Surrogates, original: str, draws: Iterator[int]) -> str:
    """Of the range that is kept for documentation."""
    mark = "-" if "-" in original else ":"
    return mark.join(("00", "00", "5E", "00", "53", f"{next(draws) % 256:02X}"))


def _phone(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    """Country code 999 is given to none; 555-01xx is kept for fiction."""
    made = _scrambled(names, original, draws)
    digits = [at for at, char in enumerate(made or "") if char in "0123456789"]
    if made is None or original.lstrip().startswith("+"):
        return made and _put(made, zip(digits, "999", strict=False))
    return _put(made, zip(digits[-7:-2], "55501", strict=False))


def _card(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    """Passes no Luhn check."""
    made = _scrambled(names, original, draws)
    if made is None or not luhn(made):
        return made
    at = max(at for at, char in enumerate(made) if char in "0123456789")
    return _put(made, [(at, str((int(made[at]) + 1) % 10))])


def _iban(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    """Check digits 00, which no account has."""
    made = _scrambled(names, original, draws)
    return made and _put(made, zip(range(4), f"{original[:2]}00", strict=True))


def _ssn(names: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    """Area 000, which nobody has."""
    made = _scrambled(names, original, draws)
    return made and _put(made, zip((at for at, char in enumerate(made) if char.isdigit()), "000", strict=False))


def _scrambled(_: Surrogates, original: str, draws: Iterator[int]) -> str | None:
    """Other digits and letters in the same places."""
    if not original.isascii() or len(_ALNUM.findall(original)) < SHORT or not re.search(r"\d", original):
        return None
    return _ALNUM.sub(lambda found: _other(found[0], next(draws)), original)


def _other(char: str, draw: int) -> str:
    if char.isdigit():
        return str(draw % 10)
    return chr(ord("a" if char.islower() else "A") + draw % 26)


def _put(text: str, chars: Iterable[tuple[int, str]]) -> str:
    made = list(text)
    for at, char in chars:
        made[at] = char
    return "".join(made)


def _never(_: Surrogates, original: str, draws: Iterator[int]) -> None:
    """`42` or `Monday` would be taken for another `42`, and a made-up secret for a secret: these keep a placeholder."""
    del original, draws


MAKERS: Mapping[str, Make] = {
    "PERSON": _person,
    "EMAIL_ADDRESS": _email,
    "DOMAIN_NAME": _domain,
    "URL": _domain,
    "ORGANIZATION": _organization,
    "LOCATION": _place,
    "GPE": _place,
    "ADDRESS": _address,
    "STREET_ADDRESS": _address,
    "IP_ADDRESS": _ip,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "US_SSN": _ssn,
    "US_ITIN": _ssn,
    "MAC_ADDRESS": _mac,
    **dict.fromkeys(("DATE_TIME", "AGE", "TITLE", "NRP", "ZIP_CODE", "SECRET", DENIED), _never),
}
"""By type, as the scrubber names them; all others: other digits and letters in the same places."""
