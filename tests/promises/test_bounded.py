"""Work before payment is bounded: whatever reads a prompt takes linear time and memory, whatever the prompt.

Time is the process's own, as a ratio of an input to one four times as long: linear work takes 4 times as long,
quadratic work 16 times. Memory is the peak of what Python allocates, as the same ratio.
"""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cache.cacheable import forbidden
from app.cache.equivalence import _numbers
from app.cache.paraphrase import rules
from app.cache.paraphrase.features import features
from app.config.cache import Cacheable
from app.core import places
from app.core.events import Message, Prompt, Token
from app.core.ports import Span
from app.core.vault import Vault
from app.engines.tokenizer import estimate
from app.privacy import spans
from app.privacy.presidio import false_positives, normalize, patterns, phones
from app.privacy.presidio.scrubber import pieces as scrubbed_pieces
from app.privacy.presidio.scrubber import resolve_overlaps
from app.privacy.presidio.secrets import SECRETS
from app.privacy.presidio.worded import WORDED
from app.privacy.views import batches, view
from app.routing.features import shape
from app.routing.stickiness import Turns
from app.safety import decode, deobfuscate, leaks, segment, sentences, spoken, untrusted
from app.safety.injection import views
from app.safety.sliding_window import SlidingWindow

TIMES = 4
LIMIT = 9.0
"""Between linear (4) and quadratic (16)."""
SMALL_S, SMALL_BYTES = 0.003, 200_000
"""What takes less than this is too little to be a ratio of: it counts as this much."""
BASE = 2_500
"""Characters of the shorter input."""

Make = Callable[[int], str]
SEGMENT = segment.Segmenter({word: at for at, word in enumerate(("the", "of", "words", "read", "hello"))})


def repeated(unit: str) -> Make:
    return lambda size: unit * (size // len(unit) + 1)


def nested(size: int) -> str:
    """Elements of different names, each in the one before."""
    count = size // 14
    return (
        "".join(f"<a{n}>" for n in range(count))
        + "some words here to read"
        + "".join(f"</a{n}>" for n in reversed(range(count)))
    )


def same_nested(size: int) -> str:
    return "<a>" * (size // 7) + "some words here to read" + "</a>" * (size // 7)


def interleaved(size: int) -> str:
    names = [f"t{n}" for n in range(size // 12)]
    return "".join(f"<{name}>x" for name in names) + "".join(f"</{name}>" for name in names)


def arrays(size: int) -> str:
    return json.dumps([f"word {n} of many" for n in range(size // 18)])


def deep_json(size: int) -> str:
    return "[" * min(900, size // 20) + '"a \\u0041da"' + "]" * min(900, size // 20) + " " * size


HOSTILE: dict[str, Make] = {
    "nested tags": nested,
    "nested tags of one name": same_nested,
    "interleaved tags": interleaved,
    "unclosed tags": repeated("<a "),
    "open tags": repeated("<a>"),
    "fences": repeated("```"),
    "fenced": repeated("``` some words to read here ```"),
    "quotes": repeated("\"'"),
    "one word": repeated("a"),
    "words joined": repeated("a_"),
    "dots": repeated("a."),
    "digits": repeated("1"),
    "digits apart": repeated("1 2-"),
    "colons": repeated("ab:"),
    "blanks": repeated(" "),
    "newlines": repeated("\n"),
    "tabs and newlines": repeated("\t\n"),
    "emoji": repeated("\N{PARTY POPPER}"),
    "accents": repeated("a\u0301\u0328"),
    "zero-width": repeated("a\u200b"),
    "look-alikes": repeated("\u0430b "),
    "Base64": repeated("aGVsbG8gd29ybGQ"),
    "hex": repeated("68 65 6c "),
    "bits": repeated("01101000 "),
    "escapes": repeated("\\u0041"),
    "percent": repeated("%41"),
    "entities": repeated("&#65;"),
    "brackets": repeated("("),
    "braces": repeated("{"),
    "spaced letters": repeated("i g n o r e "),
    "addresses": repeated("a@b.co "),
    "ats": repeated("@"),
    "slashes": repeated("/a"),
    "names": repeated("Ada Lovelace met "),
    "prose": repeated("How many of the 12 boats are faster than 30 knots, and why? "),
    "placeholders": repeated("<PERSON_1> "),
    "array": arrays,
    "deep JSON": deep_json,
    "commas": repeated("a,"),
    "dollars": repeated("$"),
}


def one(text: str) -> Prompt:
    return Prompt((Message("user", text), Message("tool", text, {"tool_call_id": "c"})))


def many(text: str) -> Prompt:
    """Thousands of messages."""
    return Prompt(tuple(Message("user", text[at : at + 8]) for at in range(0, len(text), 8)))


def tools(text: str) -> dict[str, Any]:
    """Many tools of a few words each."""
    parts = [text[at : at + 40] for at in range(0, len(text), 40)]
    return {"tools": [{"function": {"name": f"f{n}", "description": part}} for n, part in enumerate(parts)]}


def hidden(text: str) -> list[str]:
    found = [Span(at, at + 6, "PERSON", 0.9) for at in range(0, len(text) - 6, 40)]
    vault = Vault()
    said = vault.hide(text, spans.merged(found))
    restorer = vault.restorer()
    return ["".join(restorer.feed(said[at : at + 7]) for at in range(0, len(said), 7)), restorer.flush()]


def windows(text: str) -> list[str]:
    window, seen = SlidingWindow(200), []
    for at in range(0, len(text), 50):
        window.add(Token(text[at : at + 50]))
        seen += window.texts()
        window.release()
    return seen


def watched(text: str) -> list[bool]:
    watch = leaks.LeakWatcher(
        leaks.secrets(["Never tell anybody what the colour of the gate is, whoever asks. " * 3], 60)
    )
    return [watch.leaks(text[at : at + 50]) for at in range(0, len(text), 50)]


def overlapping(text: str) -> list[Span]:
    return resolve_overlaps(text, [Span(at, min(len(text), at + 30), "PERSON", 0.5) for at in range(0, len(text), 10)])


def found(text: str) -> list[Any]:
    return [match for rule in (*patterns.RULES, *SECRETS, *WORDED) for match in patterns._matches(rule, text)]


READERS: dict[str, Callable[[str], Any]] = {
    "the guard's pieces": lambda text: untrusted.pieces(one(text)),
    "the guard's pieces of many messages": lambda text: untrusted.pieces(many(text)),
    "encoded texts": decode.hidden,
    "undisguised": deobfuscate.plain,
    "said once": deobfuscate.once,
    "word by word": SEGMENT.changed,
    "the share that no judge reads": lambda text: segment.unreadable(text, [(at, at + 1) for at in range(len(text))]),
    "strings of an answer": lambda text: spoken.spoken(Token(text, logprobs=[{"token": text, "more": [text]}])),
    "sentences of an answer": lambda text: sentences.sentences(text, 0),
    "readings": views,
    "secrets": lambda text: leaks.secrets([text], 60),
    "the leak's watch": watched,
    "windows of an answer": windows,
    "strings of a prompt": lambda text: places.said(one(text)),
    "strings of tools": lambda text: places.strings(tools(text)),
    "words of tools": lambda text: places.wordings(tools(text)),
    "views": lambda text: [view(places.Place(kind, text)) for kind in ("text", "json", "pattern", "speaker")],
    "batches": lambda text: [list(batch.split([])) for batch in batches(text.split())],
    "plain for patterns": normalize.plain,
    "patterns of personal data": found,
    "telephone numbers": lambda text: list(phones.phones(text)),
    "whether it is code": false_positives.is_code,
    "whether it is code, in one line": false_positives.CODE.search,
    "whether it is a sum": false_positives.is_sum,
    "pieces for the scrubber": lambda text: list(scrubbed_pieces(text)),
    "overlaps": overlapping,
    "chosen spans": lambda text: spans.chosen(
        [text], [[Span(0, 5, "PERSON", 0.9)]], spans.Wanted(deny=frozenset({"a b"}))
    ),
    "hidden and restored": hidden,
    "what may be cached": lambda text: forbidden(
        Prompt((Message("user", text),)), Cacheable(max_question=10**9), personal=False
    ),
    "numbers of an answer": _numbers,
    "normalised": rules.normalise,
    "names in a question": rules.names,
    "paraphrase rules": lambda text: rules.disagree(text, text),
    "paraphrase features": lambda text: features(text, text),
    "the router's features": shape,
    "turns": lambda text: Turns.of("acme", many(text)),
    "the estimate of tokens": estimate,
}


def seconds(read: Callable[[str], Any], text: str) -> float:
    """The least of two runs: noise only adds."""
    spent = []
    for _ in range(2):
        started = time.process_time()
        read(text)
        spent.append(time.process_time() - started)
    return min(spent)


def peak(read: Callable[[str], Any], text: str) -> int:
    tracemalloc.start()
    try:
        kept = read(text)
        most = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return most


def grows(read: Callable[[str], Any], make: Make) -> tuple[float, float]:
    """How many times more time and memory the longer input takes. A ratio that is too high is measured again."""
    short, long = make(BASE), make(TIMES * BASE)
    read(short)  # what is compiled or loaded once
    worst = 1e9
    for _ in range(3):
        worst = min(worst, seconds(read, long) / max(SMALL_S, seconds(read, short)))
        if worst <= LIMIT:
            break
    return worst, peak(read, long) / max(SMALL_BYTES, peak(read, short))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_whatever_reads_a_prompt_takes_linear_time_and_memory(reader: str) -> None:
    grown = {name: grows(READERS[reader], make) for name, make in HOSTILE.items()}
    assert {} == {name: ratios for name, ratios in grown.items() if max(ratios) > LIMIT}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(min_size=1, max_size=6), st.sampled_from(sorted(READERS)))
def test_so_does_it_with_any_few_characters_again_and_again(unit: str, reader: str) -> None:
    unit = unit.encode("utf-8", "replace").decode()
    assert max(grows(READERS[reader], repeated(unit))) <= LIMIT


def test_a_reader_of_quadratic_time_or_memory_would_be_found() -> None:
    slow = grows(re.compile(r"\w+\.\w+\(").search, repeated("a"))
    large = grows(lambda text: [text[at:] for at in range(0, len(text), 3)], repeated("a"))
    assert (True, True) == (slow[0] > LIMIT, large[1] > LIMIT)
