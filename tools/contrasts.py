"""Make question pairs that look alike and are not, and pairs that look different and are the same.

tools/train_same.py trains and tests on them beside labelled pairs, which hold few of the first kind.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cache.paraphrase import rules
from app.cache.paraphrase.wordlists import CALENDAR, FUNCTION, OPPOSITES, UNITS

AUXILIARIES = [
    "is",
    "are",
    "was",
    "were",
    "do",
    "does",
    "did",
    "can",
    "could",
    "should",
    "would",
    "will",
    "has",
    "have",
]
FAMILIES = [
    ["kilometers", "miles", "meters", "feet", "inches"],
    ["kg", "pounds", "grams", "ounces"],
    ["minutes", "hours", "days", "weeks", "months", "years", "seconds"],
    ["dollars", "euros", "rupees", "pounds", "yen"],
    ["celsius", "fahrenheit"],
    ["GB", "MB", "TB", "KB"],
    ["liters", "gallons", "ml", "cups"],
]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
OPENERS = [
    [
        "How do I {}?", "How can I {}?", "How do you {}?", "How to {}?", "What is the way to {}?", "How can one {}?",
        "How would I {}?", "How could I {}?", "What should I do to {}?", "Could you tell me how to {}?",
        "What are the ways to {}?", "Please explain how to {}.", "I want to know how to {}.", "Is there a way to {}?",
        "Can you show me how to {}?", "how does one {}", "What's a way to {}?", "What do I need to do to {}?",
    ],
    ["Why is {}?", "What is the reason that {}?"],
    ["What are some good {}?", "What are good {}?", "Which are some good {}?", "Can you name some good {}?"],
    ["What is the best {}?", "What's the best {}?", "Which is the best {}?", "Which {} is the best?"],
    ["What are the best {}?", "What are some of the best {}?", "Which are the best {}?", "Which {} are best?"],
    ["What is {}?", "What's {}?", "Can you explain what {} is?", "Please tell me what {} is.", "What exactly is {}?"],
    ["Should I {}?", "Is it a good idea to {}?", "Would it be good to {}?", "Do you think I should {}?"],
    ["Can I {}?", "Is it possible to {}?", "Could I {}?", "Am I able to {}?", "Is it possible for me to {}?"],
    ["What are the {}?", "Which are the {}?", "Can you list the {}?", "Tell me the {}."],
]  # fmt: skip
SYNONYMS = [
    "buy purchase", "begin start", "fix repair", "quickly fast", "big large", "film movie", "help assist",
    "job work", "make create", "get obtain", "difficult hard", "error problem", "choose select", "kids children",
    "pick choose", "happen occur", "rich wealthy", "ill sick", "sad unhappy", "smart intelligent", "use utilize",
    "improve enhance", "reduce lower", "difference distinction", "ways methods", "important significant",
    "laptop notebook", "company firm", "delete erase", "find locate", "remove eliminate", "build construct",
    "explain describe", "effects consequences", "advantages benefits", "causes reasons", "tips advice",
    "picture photo", "lawyer attorney", "doctor physician", "car automobile", "trip journey", "show display",
]  # fmt: skip
CONTRACTIONS = [
    ("what is", "what's"), ("how is", "how's"), ("who is", "who's"), ("where is", "where's"), ("i am", "i'm"),
    ("do not", "don't"), ("does not", "doesn't"), ("can not", "can't"), ("cannot", "can't"), ("is not", "isn't"),
    ("it is", "it's"), ("i have", "i've"), ("should not", "shouldn't"), ("are not", "aren't"), ("did not", "didn't"),
]  # fmt: skip
POLITE = [
    "Hi, {}", "Hello! {}", "Please tell me: {}", "{} Thanks!", "{} Thank you.", "Can someone tell me: {}",
    "Quick question: {}", "I was wondering, {}", "Does anyone know? {}", "{} Please help.", "Hey, {}",
]  # fmt: skip


@dataclass
class Vocabulary:
    """Words and names to put in another's place: of `vectors`, the nearest but not the very nearest.

    words: in one case, as often as `counts` says. vectors: float32 (words, dim), unit length.
    """

    words: list[str]
    vectors: NDArray[np.float32]
    shown: dict[str, str]
    names: frozenset[str]

    def __post_init__(self) -> None:
        self.at = {word: i for i, word in enumerate(self.words)}
        self.near: dict[str, list[str]] = {}
        self.pools = sorted(self.names), [word for word in self.words if word not in self.names]

    def other(self, word: str, rng: random.Random) -> str | None:
        """Another word of the same kind that is no form of this one."""
        if word not in self.at:
            return None
        if word not in self.near:
            order = np.argsort(-(self.vectors @ self.vectors[self.at[word]]))[1:120]
            named = word in self.names
            kin = [self.words[i] for i in order if (self.words[i] in self.names) == named]
            kin = [w for w in kin if rules.stem(w)[:4] != rules.stem(word)[:4]]
            self.near[word] = kin[0:30] if named else kin[4:40]
        return self.shown[rng.choice(self.near[word])] if self.near[word] else None


def vocabulary(texts: Sequence[str], vector: Callable[[str], NDArray[np.float32]]) -> Vocabulary:
    """Of these texts: content words said at least five times, names at least three times."""
    named = Counter(name for text in texts for name in rules.names(text))
    said = Counter(word for text in texts for word in rules.WORD.findall(text.casefold()))
    names = {n for n, count in named.items() if count >= 3 and count > 0.5 * said[n] and n in said and n.isalpha()}
    plain = {w for w, n in said.items() if n >= 5 and len(w) > 3 and w.isalpha() and w.isascii() and w not in FUNCTION}
    words = sorted(names | plain - set(CALENDAR))
    rows = np.stack([vector(word) for word in words])
    rows -= rows.mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shown = {word: word.title() if word in names else word for word in words}
    return Vocabulary(words, rows.astype(np.float32), shown, frozenset(names))


# -- not the same -------------------------------------------------------------------------------


def contrasts(text: str, words: Vocabulary, rng: random.Random) -> dict[str, str]:
    """Kind -> the question with one thing changed so that it asks something else. Only what this question allows."""

    def opposite(word: str) -> str | None:
        return rng.choice(sorted(OPPOSITES[word])) if word in OPPOSITES else None

    makers: dict[str, Callable[[], str | None]] = {
        "number": lambda: _number(text, rng),
        "date": lambda: _date(text, rng),
        "unit": lambda: _unit(text, rng),
        "negation": lambda: _negation(text),
        "opposite": lambda: _swap_word(text, opposite, rng),
        "name": lambda: _swap_word(text, lambda w: words.other(w, rng) if w in words.names else None, rng),
        "noun": lambda: _swap_word(text, lambda w: None if w in words.names else words.other(w, rng), rng),
        "role": lambda: _role(text, rng),
        "narrowed": lambda: _narrowed(text, words, rng),
    }
    made = {kind: make() for kind, make in makers.items()}
    return {kind: other for kind, other in made.items() if other and other != text}


def _number(text: str, rng: random.Random) -> str | None:
    spots = list(re.finditer(r"\d+", text))
    if not spots:
        return None
    spot = rng.choice(spots)
    value = int(spot[0][:9])
    other = rng.choice([value + rng.randint(1, 3), max(0, value - rng.randint(1, 3)), value * 2, value * 10 + 5])
    return f"{text[: spot.start()]}{other if other != value else value + 1}{text[spot.end() :]}"


def _date(text: str, rng: random.Random) -> str | None:
    for names in (MONTHS, DAYS):
        for name in names:
            if re.search(rf"\b{name}\b", text):
                return re.sub(rf"\b{name}\b", rng.choice([n for n in names if n != name]), text)
    if year := re.search(r"\b(?:19|20)\d\d\b", text):
        return text.replace(year[0], str(int(year[0]) + rng.choice([-3, -2, -1, 1, 2])))
    return None


def _unit(text: str, rng: random.Random) -> str | None:
    for word in re.findall(r"[^\W\d_]+", text):
        for family in FAMILIES:
            if word.casefold() in family or word in family:
                others = [u for u in family if UNITS[u.casefold()] != UNITS[word.casefold()]]
                return re.sub(rf"\b{word}\b", rng.choice(others), text)
    return None


def _negation(text: str) -> str | None:
    bare = re.sub(r"\b(is|are|was|were|do|does|did|ca|could|should|would|has|have)n['\u2019]t\b", _positive, text)
    bare = re.sub(r"\bnot ", "", bare)
    if bare != text:
        return bare
    match = re.search(rf"\b({'|'.join(AUXILIARIES)}) (\w+) ", text, re.IGNORECASE)
    return f"{text[: match.end()]}not {text[match.end() :]}" if match else None


def _positive(match: re.Match[str]) -> str:
    return "can" if match[1].casefold() == "ca" else match[1]


def _swap_word(text: str, other: Callable[[str], str | None], rng: random.Random) -> str | None:
    spots = list(rules.WORD.finditer(text))
    rng.shuffle(spots)
    for spot in spots:
        if new := other(spot[0].casefold()):
            return text[: spot.start()] + new + text[spot.end() :]
    return None


def _role(text: str, rng: random.Random) -> str | None:
    """Two content words exchanged that are not neighbours."""
    spots = [s for s in rules.WORD.finditer(text) if s[0].casefold() not in FUNCTION and len(s[0]) > 2]
    pairs = [(x, y) for i, x in enumerate(spots) for y in spots[i + 1 :] if text[x.end() : y.start()].strip()]
    named = [p for p in pairs if p[0][0][0].isupper() == p[1][0][0].isupper()]
    if not named:
        return None
    x, y = rng.choice(named)
    swapped = text[: x.start()] + y[0] + text[x.end() : y.start()] + x[0] + text[y.end() :]
    return swapped if rules.disagree(text, swapped) == "roles" or rng.random() < 0.3 else None


def _narrowed(text: str, words: Vocabulary, rng: random.Random) -> str | None:
    if len(text.split()) > 14:
        return None
    body, end = text.rstrip("?. "), text[len(text.rstrip("?. ")) :]
    name, plain = (rng.choice(pool) for pool in words.pools)
    tail = rng.choice([f"in {words.shown[name]}", f"for {plain}", f"without {plain}", f"with {words.shown[name]}",
                       f"according to {words.shown[name]}", f"if I have {plain}", f"before {plain}"])  # fmt: skip
    return f"{body} {tail}{end}"


# -- the same -----------------------------------------------------------------------------------


def paraphrase(text: str, rng: random.Random) -> str:
    """The question in other words, by one to three safe rewrites."""
    rewrites = [_opener, _opener, _opener, _synonym, _synonym, _contraction, _surface, _typo, _polite]
    out = text
    for rewrite in rng.sample(rewrites, rng.choice([1, 2, 2, 3])):
        out = rewrite(out, rng)
    return out if out != text else _surface(_polite(text, rng), rng)


def _opener(text: str, rng: random.Random) -> str:
    for group in OPENERS:
        for opener in group:
            before, _, after = opener.rstrip("?.").partition("{}")
            bare = text.rstrip("?. ")
            if bare.casefold().startswith(before.casefold()) and bare.casefold().endswith(after.casefold()):
                body = bare[len(before) : len(bare) - len(after) or None]
                if body and before and "?" not in body:
                    return rng.choice([o for o in group if o != opener]).format(body)
    return text


def _synonym(text: str, rng: random.Random) -> str:
    for pair in rng.sample(SYNONYMS, len(SYNONYMS)):
        one, two = rng.sample(pair.split(), 2)
        if re.search(rf"\b{one}\b", text):
            return re.sub(rf"\b{one}\b", two, text, count=1)
    return text


def _contraction(text: str, rng: random.Random) -> str:
    for long, short in rng.sample(CONTRACTIONS, len(CONTRACTIONS)):
        one, two = rng.sample([long, short], 2)
        if re.search(rf"\b{one}\b", text, re.IGNORECASE):
            return re.sub(rf"\b{one}\b", two, text, count=1, flags=re.IGNORECASE)
    return text


def _surface(text: str, rng: random.Random) -> str:
    bare = text.rstrip("?. ")
    return rng.choice([text.lower(), text.upper(), bare, f"{bare}?", text.replace(",", "")])


def _typo(text: str, rng: random.Random) -> str:
    spots = list(re.finditer(r"\b[a-z]{5,}\b", text))
    if not spots:
        return text
    spot = rng.choice(spots)
    word, at = spot[0], rng.randrange(1, len(spot[0]) - 1)
    wrong = rng.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:],
                        word[:at] + word[at + 1] + word[at] + word[at + 2 :]])  # fmt: skip
    return text[: spot.start()] + wrong + text[spot.end() :]


def _polite(text: str, rng: random.Random) -> str:
    return rng.choice(POLITE).format(text)
