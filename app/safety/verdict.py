"""How much the score of a piece counts: that of a paste less than that of a message.  Classifier -> [verdict] -> guard.

A message of an agent has many pastes, each another chance to be wrong, and what stands in tags or fences reads as an
order once it is cut from the sentence that says what it is: about half of the harmless turns that were flagged were
flagged for a paste alone. An attack scores far over the threshold, by itself too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from app.safety.untrusted import Paste, Sentence

LABEL = "injection"  # another classifier's labels count as they are
MARGIN = 2.0
"""What is taken from the logit of a paste: on sources left out of training it lets a third to a half of the harmless
turns go that were flagged, and one attack in a hundred.
"""
MARGINS: dict[type[str], float] = {Paste: MARGIN, Sentence: 1.0}


def tempered(texts: Sequence[str], scored: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The scores of each text, lower where it is a paste or a sentence."""
    return [
        {**scores, LABEL: lower(scores[LABEL], MARGINS[type(text)])}
        if type(text) in MARGINS and LABEL in scores
        else scores
        for text, scores in zip(texts, scored, strict=True)
    ]


def lower(score: float, margin: float = MARGIN) -> float:
    """A probability, its logit lower by `margin`."""
    odds = score * math.exp(-margin)
    return odds / (1 - score + odds)
