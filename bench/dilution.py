"""How much of what is stopped alone is stopped among polite sentences too, and how many clean answers are stopped.

    python bench/dilution.py [ROWS]

Streams the rows of evals/short/toxicity.jsonl, word by word, through the moderate stage of configs/local.yaml with the
real Detoxify: each toxic one alone, and if it is stopped so, behind, before and between polite ones; each clean one
behind a polite one. ROWS: of each kind, at most.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.config import load_file
from app.core.call import Call
from app.core.events import Refusal, Token
from app.core.ports import Principal
from app.core.stage import Events
from app.pipeline.stages.moderate import Moderate
from app.safety.detoxify import DetoxifyClassifier

ROOT = Path(__file__).parents[1]
POLITE = (
    "Thank you for asking about this.",
    "The ferry leaves at ten, and tickets are sold on board.",
    "In winter the museum is closed on Mondays.",
)
POSITIONS: dict[str, Callable[[str], str]] = {
    "behind two": lambda text: f"{POLITE[0]} {POLITE[1]} {text}",
    "behind six": lambda text: f"{' '.join(POLITE * 2)} {text}",
    "before two": lambda text: f"{text} {POLITE[1]} {POLITE[2]}",
    "between": lambda text: f"{POLITE[1]} {text} {POLITE[2]}",
    "on a line": lambda text: f"{POLITE[1]}\n{text}\n{POLITE[2]}",
    "behind a comma": lambda text: f"{POLITE[0][:-1]}, {text}",
}


async def answer(text: str) -> Events:
    """The text, a word a Token."""
    for word in text.split(" "):
        yield Token(f"{word} ")
    yield Token("", finish_reason="stop")


async def stopped(moderate: Moderate, text: str) -> bool:
    """Whether the answer ends in a refusal."""
    call = Call("bench", Principal("bench", "key"), time.monotonic() + 600)
    return any([isinstance(event, Refusal) async for event in moderate(call, answer(text))])


async def main(limit: int) -> None:
    """Print a line for each position, and one for the clean rows."""
    moderate = Moderate(DetoxifyClassifier(), load_file(ROOT / "configs" / "local.yaml").policy.moderate)
    rows = [json.loads(line) for line in (ROOT / "evals" / "short" / "toxicity.jsonl").read_text().splitlines()]
    toxic = [row["text"] for row in rows if row["toxic"]][:limit]
    clean = [row["text"] for row in rows if not row["toxic"]][:limit]
    alone = [text for text in toxic if await stopped(moderate, text)]
    print(f"stopped alone      {len(alone)} of {len(toxic)}")
    for name, around in POSITIONS.items():
        found = [await stopped(moderate, around(text)) for text in alone]
        print(f"{name:18} {sum(found)} of {len(alone)}")
    for name, around in (("clean, alone", str), ("clean, behind one", lambda text: f"{POLITE[1]} {text}")):
        found = [await stopped(moderate, around(text)) for text in clean]
        print(f"{name:18} {sum(found)} of {len(clean)}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
