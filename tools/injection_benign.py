"""Harmless prompts of our own making that look like attacks, for training the injection judge.

injection_benign.yaml -> [benign] -> tools/injection_mix.py: trigger words in innocent use, questions about attacks,
harmless roles, rules of format, documents, and what coding agents, chat front ends and judges write into a user's turn.
"""

from __future__ import annotations

import base64
import random
from pathlib import Path

import yaml

from tools.injection_attacks import fill

_PARTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SLOTS: dict[str, list[str]] = _PARTS["slots"]
FAMILIES: dict[str, list[str]] = _PARTS["families"]


def benign(rng: random.Random) -> tuple[str, str]:
    """One harmless prompt, with its family."""
    family = rng.choice(list(FAMILIES))
    inner = fill("{sentence}", rng, SLOTS)
    code = base64.b64encode(inner.encode()).decode()
    slots = {**SLOTS, "code": [code], "wrapper": [rng.choice(SLOTS["wrapper"])]}  # a tag is closed as it was opened
    text = fill(rng.choice(FAMILIES[family]), rng, slots)
    chance = rng.random()
    return family, text.lower() if chance < 0.2 else text.upper() if chance < 0.03 else text
