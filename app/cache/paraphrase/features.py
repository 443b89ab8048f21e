"""How alike two questions are as strings: a few numbers for the network and the head of the paraphrase judge. Pure."""

from __future__ import annotations

from collections import Counter

from app.cache.paraphrase.rules import content, names, words

NAMES = (
    "content in common", "least left over", "most left over", "length ratio", "same opener", "names left over",
    "trigrams in common", "same order", "has a number", "same tail",
)  # fmt: skip


def features(a: str, b: str) -> list[float]:
    """One number for each of NAMES; the same for (b, a)."""
    ours, theirs = content(a), content(b)
    mine, other = Counter(ours), Counter(theirs)
    rest = sorted(((mine - other).total(), (other - mine).total()))
    common = [w for w in ours if w in other], [w for w in theirs if w in mine]
    said, answered = words(a), words(b)
    named = set(names(a)) ^ set(names(b))
    return [
        _share(mine, other),
        float(min(rest[0], 4)),
        float(min(rest[1], 6)),
        min(len(said), len(answered)) / max(1, len(said), len(answered)),
        float(said[:1] == answered[:1]),
        float(min(sum(n not in said or n not in answered for n in named), 3)),
        _share(Counter(_trigrams(said)), Counter(_trigrams(answered))),
        float(common[0] == common[1]),
        float(any(c.isdigit() for c in a + b)),
        float(ours[-1:] == theirs[-1:]),
    ]


def _trigrams(said: list[str]) -> list[str]:
    text = " ".join(said)
    return [text[i : i + 3] for i in range(len(text) - 2)]


def _share(a: Counter[str], b: Counter[str]) -> float:
    return (a & b).total() / max(1, (a | b).total())
