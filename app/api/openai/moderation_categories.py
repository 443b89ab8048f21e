"""What the moderator found, in OpenAI's categories: of `/v1/moderations`, and of a chat that asks for `moderation`.

A moderator of Detoxify's labels measures harassment, harassment/threatening, hate and, where the model has the label,
sexual. The other categories are never measured: their score is 0 and their `category_applied_input_types` are empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.call import Call

LABELS: Mapping[str, tuple[str, ...]] = {
    "harassment": ("toxicity", "severe_toxicity", "insult"),
    "harassment/threatening": ("threat",),
    "hate": ("identity_attack",),
    "hate/threatening": (),
    "illicit": (),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/intent": (),
    "self-harm/instructions": (),
    # Not `obscene`: that is foul language, whatever it is about.
    "sexual": ("sexual_explicit",),
    "sexual/minors": (),
    "violence": (),
    "violence/graphic": (),
}
"""OpenAI's categories, each with the moderator's labels that measure it: the highest one counts."""


def result(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """OpenAI's object for one text. A category is flagged where one of its labels reaches the policy's threshold."""
    flags = {
        category: any(label in thresholds and scores.get(label, 0.0) >= thresholds[label] for label in labels)
        for category, labels in LABELS.items()
    }
    values = {
        category: max((float(scores.get(label, 0.0)) for label in labels), default=0.0)
        for category, labels in LABELS.items()
    }
    measured = {category: ["text"] if set(labels) & set(scores) else [] for category, labels in LABELS.items()}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": values,
        "category_applied_input_types": measured,
    }


def of_call(call: Call, thresholds: Mapping[str, float], model_id: str) -> dict[str, Any]:
    """A chat's `moderation`: the highest scores of what was asked, and of what was answered (none, for a cache hit)."""
    return {
        side: {
            "type": "moderation_results",
            "model": model_id,
            "results": [
                {"type": "moderation_result", "model": model_id, **result(_scores(call.trail.get(stage)), thresholds)}
            ],
        }
        for side, stage in (("input", "screen"), ("output", "moderate"))
    }


def _scores(trail: Mapping[str, Any] | None) -> dict[str, float]:
    return {label: score for label, score in (trail or {}).items() if isinstance(score, float)}
