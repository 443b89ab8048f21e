"""What two questions must have in common before any model may call them the same.

The rules see what a small uncased model does not: numbers, units, dates, negation, who does what to whom, quoted
words, code, addresses, and words outside its vocabulary. They only ever refuse: two questions that pass may still
ask different things. All of it is string work, pure and in English; other scripts are compared word by word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

from app.cache.paraphrase.wordlists import ALIASES, CALENDAR, FUNCTION, JOINS, NEGATORS, NUMBERS, OPPOSITES, UNITS

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*(?:\+\+|#)?")
NUMBER = re.compile(r"(?<!\d)\d+(?:[.,]\d+)*")
QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|(?<!\w)'([^']{2,})'(?!\w)")
EXACT = re.compile(
    r"```.*?```|`[^`]*`|\w{1,16}://\S+|\bwww\.\S+|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}|(?<!\w)[~.]?/[\w.~-]+(?:/[\w.~-]+)+",
    re.DOTALL,
)
PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
SIGNS = re.compile(r"[=<>^\\|~\u00b0\u00b2\u00b3\u221a\u00b1\u00d7\u00f7\u2264\u2265\u2260\u221e{}\[\]]")
SUM = re.compile(r"(?<=[\d\w)])\s*([-+*^])\s*(?=[\d(])|(?<![\w)])\s([-])(?=\d)")
OR_NOT = re.compile(r"\bor (?:not|no)\b", re.IGNORECASE)
MIXED = re.compile(r"(?=.*\d)(?=.*[^\W\d_]).+")
FRACTION = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def normalise(text: str) -> str:
    """One form for what reads the same: composed, without invisible characters, blanks squeezed, in one case."""
    shown = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(shown.casefold().split()).rstrip("?!. ")


def equal_where_case_matters(a: str, b: str) -> bool:
    """Whether code, addresses and placeholders are the very same."""
    return EXACT.findall(a) == EXACT.findall(b) and PLACEHOLDER.findall(a) == PLACEHOLDER.findall(b)


def disagree(a: str, b: str) -> str | None:
    """Why the two cannot be the same question, in a word: `numbers`, `units`, ...; None: no rule objects."""
    return next((name for name, differ in RULES.items() if differ(a, b)), None)


def words(text: str) -> list[str]:
    """The words in order, in one case, under one name where they have several (`USA`: `us`)."""
    plain = (w.replace("\u2019", "'") for w in WORD.findall(unicodedata.normalize("NFC", text).casefold()))
    return [ALIASES.get(w, w) for word in plain for w in _parts(word) if w]


def stem(word: str) -> str:
    """The word without its commonest endings: enough to tell `increases` and `increasing` from `decrease`."""
    for ending in ("ing", "ies", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order."""
    return [stem(word) for word in words(text) if word not in FUNCTION]


def names(text: str) -> list[str]:
    """Words written with a capital where grammar asks for none, in one case, in order."""
    tokens = list(WORD.finditer(text))
    capitals = sum(t[0][0].isupper() for t in tokens)
    if capitals > 0.7 * len(tokens) and len(tokens) > 3:  # a headline, or shouting: capitals say nothing
        return []
    found, end, begins = [], 0, True
    for token in tokens:
        # What stands since the last word tells whether a sentence begins: all before it would take quadratic time.
        between = text[end : token.start()]
        begins = (end == 0 and not between.strip("\"' (\u201c")) or _ends(between)
        end = token.end()
        word = token[0].replace("\u2019", "'")
        if (word[0].isupper() and not begins) or any(c.isupper() for c in word[1:]):
            low = _bare(word.casefold())
            low = "america" if word == "US" else ALIASES.get(low, low)
            if low not in FUNCTION and low not in CALENDAR:
                found.append(low)
    return found


def _ends(between: str) -> bool:
    """Whether a sentence ends between two words."""
    return between.rstrip()[-1:] in tuple(".?!:")


def _parts(word: str) -> Iterator[str]:
    """`can't` as `can` and `not`; `it's` as `it` and `is`."""
    if word in ("can't", "cannot", "cant"):
        yield from ("can", "not")
    elif word in ("won't", "wont"):
        yield from ("will", "not")
    elif word.endswith("n't"):
        yield from (word[:-3], "not")
    elif word in BARE:
        yield from (word[:-2], "not")
    else:
        yield _bare(word)


def _bare(word: str) -> str:
    """`it` of `it's`, `obrien` of `o'brien`."""
    stem_, _, ending = word.rpartition("'")
    return (stem_ if ending in ("s", "m", "re", "ve", "ll", "d") and stem_ else word).replace("'", "")


BARE = frozenset(
    f"{verb}nt"
    for verb in ("do", "does", "did", "is", "are", "was", "were", "have", "has", "had", "could", "should", "would")
)


# -- the rules ----------------------------------------------------------------------------------


def _numbers(text: str) -> set[str]:
    """Every number's value as text, ordinals too, whatever stands around it; of number words all but `one`."""
    plain = FRACTION.sub("", PLACEHOLDER.sub(" ", text))
    digits = {m[0].replace(",", ".").rstrip("0").rstrip(".") if "." in m[0] or "," in m[0] else m[0].lstrip("0") or "0"
              for m in NUMBER.finditer(plain)}  # fmt: skip
    return digits | {NUMBERS[word] for word in words(plain) if word in NUMBERS}


def _mixed(text: str) -> tuple[set[str], set[str]]:
    """Words of letters and digits (`6s`, `b2b`); and every word, also joined to its neighbours.

    Ordinals, decades and numbers with their unit are left to the other rules.
    """
    said = words(text)
    joined = {"".join(said[i : i + n]) for n in (1, 2, 3) for i in range(len(said))}
    return {word for word in said if MIXED.fullmatch(word) and not _measure(word)}, joined


def _measure(word: str) -> bool:
    match = re.fullmatch(r"(\d+)([^\W\d_]+)", word)
    return match is not None and (match[2] in UNITS or match[2] in ("st", "nd", "rd", "th") or word.endswith("0s"))


def _mixed_differ(a: str, b: str) -> bool:
    (mine, all_mine), (theirs, all_theirs) = _mixed(a), _mixed(b)
    return not (mine <= all_theirs and theirs <= all_mine)


def _units(text: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Units of measure and currencies, each by one name; and each number with the unit beside it.

    Single letters are units only after a number.
    """
    found = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[%$\u20ac\u00a3\u00a5\u20b9]", text.casefold())
    units, measured = set(), set()
    for before, word, after in zip(["", *found], found, [*found[1:], ""], strict=False):
        number = next((n for n in (before, after if len(word) == 1 else "") if n[:1].isdigit() or n in NUMBERS), "")
        if word in UNITS and (number or len(word) > 1 or not word.isalpha()):
            units.add(UNITS[word])
            if number:
                measured.add((number, UNITS[word]))
    return units, measured


def _units_differ(a: str, b: str) -> bool:
    """Each speaks of a unit that the other does not, or the same number is of another unit."""
    (ours, mine), (theirs, other) = _units(a), _units(b)
    if ours - theirs and theirs - ours:
        return True
    both = {number for number, _ in mine} & {number for number, _ in other}
    return {pair for pair in mine if pair[0] in both} != {pair for pair in other if pair[0] in both}


def _calendar(text: str) -> set[str]:
    """Months, weekdays, times of day and relative days. `may` and `march` count only as written for a month."""
    found = {CALENDAR[w] for w in words(text) if w in CALENDAR and w not in ("may", "march")}
    found |= {m[1] for m in re.finditer(r"\d\s?([ap])\.?m\b", text.casefold())}
    return found | {m[0].casefold() for m in re.finditer(r"(?<=\s)(?:May|March)\b", text)}


def _negation(text: str) -> int:
    """Whether an odd number of words negates. `or not` adds nothing."""
    return sum(word in NEGATORS for word in words(OR_NOT.sub(" ", text))) % 2


def _opposites(a: str, b: str) -> bool:
    """Each has a word whose opposite only the other has."""
    ours, theirs = set(words(a)), set(words(b))
    ours |= {stem(w) for w in ours}
    theirs |= {stem(w) for w in theirs}
    for word in ours - theirs:
        for other in OPPOSITES.get(word, ()):
            if other in theirs and other not in ours and word not in theirs:
                return True
    return False


def _quotes(text: str) -> set[str]:
    return {normalise(next(filter(None, groups))) for groups in QUOTED.findall(text.replace('""', '"'))}


def _quoted_differ(a: str, b: str) -> bool:
    """What one quotes the other must at least say."""
    ours, theirs = normalise(a.replace('""', '"')), normalise(b.replace('""', '"'))
    return any(q not in theirs for q in _quotes(a)) or any(q not in ours for q in _quotes(b))


def _foreign(text: str) -> Counter[str]:
    """Words with letters or marks outside Latin, and pictures: what the model's vocabulary hardly knows."""
    latin = unicodedata.normalize("NFC", text).casefold()
    return Counter(w for w in re.findall(r"\w+|[^\w\s]", latin) if any(_is_foreign(c) for c in w))


def _is_foreign(char: str) -> bool:
    if char.isascii():
        return False
    kind = unicodedata.category(char)
    return kind == "So" or (kind[0] in "LM" and not unicodedata.name(char, "").startswith("LATIN"))


def _names_differ(a: str, b: str) -> bool:
    """Each names somebody or something that the other does not mention, in any spelling."""
    ours, theirs = _unmatched(names(a), b), _unmatched(names(b), a)
    return bool(ours and theirs)


def _unmatched(named: list[str], other: str) -> list[str]:
    there = words(other)
    squeezed = "".join(there)
    initials = "".join(w[0] for w in there)
    return [n for n in named if n not in squeezed and n not in initials and not any(_akin(n, w) for w in there)]


def _akin(a: str, b: str) -> bool:
    """Whether two words may be one, misspelt or inflected: one edit in five letters, or one stem."""
    if a[0] != b[0]:
        return False
    if stem(a) == stem(b) or (min(len(a), len(b)) >= 4 and (a.startswith(b) or b.startswith(a))):
        return True
    return len(a) >= 5 and len(b) >= 5 and within_one_edit(a, b)


def within_one_edit(a: str, b: str) -> bool:
    """Whether one letter more, less, changed, or two exchanged make one word of the other."""
    if abs(len(a) - len(b)) > 1:
        return False
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rests = (a[at + 1 :] == b[at:], a[at:] == b[at + 1 :], a[at + 1 :] == b[at + 1 :])
    return any(rests) or (a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :])


def _roles_swapped(a: str, b: str) -> bool:
    """The same names, or the very same words in the same frame, in another order, each after another word than before.

    `in June in Slovenia` may turn round, and so may what an `and` joins; `do Croats think of Turks` may not.
    `uber's business model` and `business model of uber` are other frames: the model decides.
    """
    ours, theirs = content(a), content(b)
    whole = Counter(ours) == Counter(theirs)
    if not whole:
        named = {stem(n) for n in (*names(a), *names(b))} & set(ours) & set(theirs)
        ours, theirs = ([w for w in dict.fromkeys(side) if w in named] for side in (ours, theirs))
    moved = {w for pair in zip(ours, theirs, strict=False) if len(set(pair)) > 1 for w in pair}
    if not moved or moved <= _joined(a) & _joined(b):
        return False
    if whole and not _same_frame(a, b, moved):
        return False
    before, after = _predecessors(a), _predecessors(b)
    return sum(before.get(word) != after.get(word) for word in moved) > 1


def _same_frame(a: str, b: str, moved: set[str]) -> bool:
    """Whether the same words stand, in the same order, between those that moved."""
    frames = []
    for text in (a, b):
        slots = ["_" if stem(word) in moved else word for word in words(text) if word not in ("a", "an", "the")]
        frames.append(" ".join(slots).strip().partition("_")[2].rpartition("_")[0])
    return frames[0] == frames[1] and frames[0].strip("_ ") != ""


def _predecessors(text: str) -> dict[str, str]:
    """Each word's stem -> the word before it, articles left out."""
    said = [word for word in words(text) if word not in ("a", "an", "the")]
    return {stem(word): stem(before) for before, word in zip(["", *said], said, strict=False)}


def _joined(text: str) -> set[str]:
    """Stems of the words beside an `and`, `or` or `vs`: those may change places."""
    said = words(text)
    spots = [i for i, word in enumerate(said) if word in JOINS]
    return {stem(word) for i in spots for word in (*said[max(0, i - 2) : i], *said[i + 1 : i + 3])}


def _differ(read: Callable[[str], object]) -> Callable[[str, str], bool]:
    return lambda a, b: read(a) != read(b)


RULES: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda a, b: not equal_where_case_matters(a, b),
    "numbers": lambda a, b: _numbers(a) != _numbers(b) or _mixed_differ(a, b),
    "units": _units_differ,
    "dates": _differ(_calendar),
    "negation": _differ(_negation),
    "opposites": _opposites,
    "signs": _differ(lambda text: (Counter(SIGNS.findall(PLACEHOLDER.sub("", text))), SUM.findall(text))),
    "quotes": _quoted_differ,
    "script": _differ(_foreign),
    "names": _names_differ,
    "roles": _roles_swapped,
}
"""By name, the cheapest first: whether two questions differ in what must agree."""
