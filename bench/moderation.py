"""What moderation adds to a stream: to the first token, and to each one after.

    python bench/moderation.py [TOKENS [MILLISECONDS]]

One answer of so many tokens, one every so many milliseconds, through the moderate stage of configs/local.yaml with the
real Detoxify, beside the same stream without the stage. Prints when the first text left, how long each token was held
back, and what scoring took.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.config import load_file
from app.core.call import Call
from app.core.events import Token
from app.core.ports import Principal
from app.core.stage import Events
from app.pipeline.stages.moderate import Moderate
from app.safety.detoxify import DetoxifyClassifier

ROOT = Path(__file__).parents[1]
TEXT = "A penstock is a pipe that carries water under pressure from a reservoir down to the blades of a turbine. "
ROUNDS = 7


class Watched:
    """The classifier, and how long each of its calls took, in seconds."""

    def __init__(self, classifier: DetoxifyClassifier) -> None:
        self.took: list[float] = []
        self._classifier = classifier

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        began = time.perf_counter()
        scores = await self._classifier.score(texts)
        self.took.append(time.perf_counter() - began)
        return scores


async def engine(words: list[str], pause: float, said: list[float]) -> Events:
    """One word every `pause` seconds; when each was said."""
    for word in words:
        await asyncio.sleep(pause)
        said.append(time.perf_counter())
        yield Token(word)
    yield Token("", finish_reason="stop")


async def held(moderate: Moderate, words: list[str], pause: float) -> list[float]:
    """Seconds that each word was held back."""
    said: list[float] = []
    left: list[float] = []
    ends = [sum(map(len, words[: n + 1])) for n in range(len(words))]
    length = 0
    call = Call("bench", Principal("bench", "key"), time.monotonic() + 600)
    async for event in moderate(call, engine(words, pause, said)):
        length += len(event.text) if isinstance(event, Token) else 0
        while len(left) < len(words) and ends[len(left)] <= length:
            left.append(time.perf_counter())
    return [after - before for before, after in zip(said, left, strict=True)]


async def main(tokens: int, pause: float) -> None:
    """Measure a few answers; the first warms up."""
    settings = load_file(ROOT / "configs" / "local.yaml").policy.moderate
    watched = Watched(DetoxifyClassifier())
    words = [f"{word} " for word in TEXT.split()]
    words = [words[n % len(words)] for n in range(tokens)]
    rounds = [await held(Moderate(watched, settings), words, pause) for _ in range(ROUNDS)][1:]
    first = sorted(each[0] * 1000 for each in rounds)
    later = sorted(1000 * wait for each in rounds for wait in each[1:])
    scores = sorted(1000 * took for took in watched.took)
    print(f"window {settings.window}, stride {settings.stride}, delay {settings.delay} s; {tokens} tokens, one every")
    print(f"{1000 * pause:.0f} ms; {len(watched.took) / ROUNDS:.1f} scores an answer")
    for what, found in (("added to the first token", first), ("added to a later token", later), ("one score", scores)):
        p99 = found[int(len(found) * 0.99)]
        print(f"{what:26} p50 {statistics.median(found):6.1f} ms   p99 {p99:6.1f} ms")
    total = sum(watched.took) / ROUNDS / tokens
    print(f"work a token               {1000 * total:.2f} ms")


if __name__ == "__main__":
    given = [int(arg) for arg in sys.argv[1:3]]
    asyncio.run(main(given[0] if given else 120, (given[1] if len(given) > 1 else 30) / 1000))
