"""Whether a question is about whoever asks it: another's answer to it is none.  cacheable -> [asker].

`How do I boil an egg?` and `Tell me a joke.` are about nobody; `How much do I owe?` and `my invoice` are.
"""

from __future__ import annotations

import re
from functools import lru_cache

_RUN_ON = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Japanese and Chinese: no blank tells where a word ends."""
_NOBODY = re.compile(
    r"\bhow (?:do|can|could|would|should|might|may) i"
    r"(?!\s+(?:look|feel|rank|rate|score|stand|compare|do|owe|sound|seem|differ|appear)\b)"
    r"|\b(?:tell|give|show|teach|help|let) me\b(?!\s*(?:[?.!,;]|$))"
    r"|\blet us\b|\bfor i in\b",
    re.IGNORECASE,
)
"""`I` and `me` of a turn of phrase: whoever asks gets the same answer."""


def about_asker(text: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words stands in the text for whoever wrote it. Takes linear time."""
    if not words:
        return False
    said = _NOBODY.sub(" ", text.replace("\u2019", "'"))
    shouted = said.isupper()
    return any(shouted or not _abbreviation(found[0]) for found in _either(words).finditer(said))


def _abbreviation(word: str) -> bool:
    """`US` is a country, `EU` a union and `MI` a state; `us`, `eu` and `mi` are somebody."""
    return len(word) in (2, 3) and word.isascii() and word.isupper()


@lru_cache(maxsize=8)
def _either(words: tuple[str, ...]) -> re.Pattern[str]:
    bare = [word for word in words if _RUN_ON.match(word)]
    whole = [re.escape(word) for word in words if not _RUN_ON.match(word)]
    found = [rf"(?<![\w.])(?:{'|'.join(whole)})(?!\w)"] if whole else []
    return re.compile("|".join([*found, *map(re.escape, bare)]), re.IGNORECASE)
