"""Measure a toxicity model as users will have it, and write what stands beside its weights.

Called by tools/train_toxicity.py. Texts are scored by windows, as app/safety/detoxify.py does.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.models.chunks import windows
from app.safety.detoxify import quantized
from tools import adapt
from tools.pin import held_out

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
SHOWN = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}  # as Detoxify does
FALSE_POSITIVES = 0.01
LEAST = (
    0.3  # of a threshold: on a label as rare as `threat`, 1 % of the clean rows lie over a score nobody would believe
)
CHECKS = (
    "Thank you, that was very helpful.",
    "You are a stupid idiot and everyone hates you.",
    "How do I kill a process?",
)

Rows = list[tuple[str, tuple[float, ...]]]
Floats = NDArray[np.float32]


class Report:
    """Held-out rows and clean technical texts, and what a model makes of them. window: tokens scored at once."""

    def __init__(self, tokenizer: Any, window: int, held: Rows, clean: list[str]) -> None:
        self.tokenizer = tokenizer
        self.window = window
        self.texts = [text for text, _ in held]
        self.truth = np.array([labels for _, labels in held], np.float32)
        self.clean = clean

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def logits(self, model: torch.nn.Module, texts: list[str], *, alone: bool = False) -> Floats:
        """float32 (texts, labels): of each label the highest over the text's windows.

        alone: one window at a time, as the adapter does in int8; else in batches.
        """
        model.eval()
        cut = [windows(self.tokenizer, text, self.window, self.window // 5) for text in texts]
        owner = [number for number, pieces in enumerate(cut) for _ in pieces]
        ids = self.tokenizer([piece for pieces in cut for piece in pieces], truncation=True)["input_ids"]
        found = [model(torch.tensor([row])).logits[0] for row in ids] if alone else adapt.predict(model, ids)
        out = np.full((len(texts), len(LABELS)), -np.inf, np.float32)
        np.maximum.at(out, owner, torch.stack(found).numpy())
        return out

    def calibrate(self, model: torch.nn.Module) -> Floats:
        """Platt's slope and offset per label, (labels, 2): sigmoid(slope * logit + offset) is a probability."""
        logits = self.logits(model, self.texts)
        fits = [LogisticRegression(C=10.0).fit(logits[:, [i]], self.truth[:, i]) for i in range(len(LABELS))]
        return np.array([(fit.coef_[0, 0], fit.intercept_[0]) for fit in fits], np.float32)

    def write(self, model: torch.nn.Module, out: Path) -> None:
        """Print the figures; write thresholds.json, measured.json and selfcheck.json.

        Figures and thresholds are of the model in int8, as it runs by default; the AUCs in float32 stand beside them.
        """
        whole, small = _sigmoid(self.logits(model, self.texts)), quantized(model)
        scores = _sigmoid(self.logits(small, self.texts, alone=True))
        figures = self._figures(scores)
        for i, row in enumerate(figures.values()):
            row["auc_float32"] = round(float(roc_auc_score(self.truth[:, i], whole[:, i])), 4)
        for label, row in figures.items():
            print(f"{label:16}", " ".join(f"{key} {value:.4f}" for key, value in row.items()))
        limits = {label: row.pop("threshold") for label, row in figures.items()}
        least = np.array(list(limits.values()), np.float32)
        toxic = np.asarray(self.truth.any(axis=1), np.bool_)
        over = np.asarray((scores >= least).any(axis=1), np.bool_)
        flagged = (_sigmoid(self.logits(small, self.clean, alone=True)) >= least).any(axis=1)
        about: dict[str, Any] = {
            "held_out": len(self.texts),
            "mean_auc": round(float(np.mean([row["auc"] for row in figures.values()])), 4),
            "mean_auc_float32": round(float(np.mean([row["auc_float32"] for row in figures.values()])), 4),
            "any_label_auc": round(float(roc_auc_score(toxic, scores.max(axis=1))), 4),
            "toxic_flagged": round(float(over[toxic].mean()), 4),
            "clean_flagged": round(float(over[~toxic].mean()), 4),
            "clean_texts": len(self.clean),
            "clean_texts_flagged": int(flagged.sum()),
        }
        print(about)
        known = _sigmoid(self.logits(model, list(CHECKS)))
        checks = [
            {"text": text, "scores": {label: round(float(x), 4) for label, x in zip(limits, row, strict=True)}}
            for text, row in zip(CHECKS, known, strict=True)
        ]
        for name, what in (("thresholds", limits), ("measured", {**about, "labels": figures}), ("selfcheck", checks)):
            (out / f"{name}.json").write_text(json.dumps(what, indent=2) + "\n")

    def _figures(self, scores: Floats) -> dict[str, dict[str, float]]:
        """Per label: its default threshold, and how well one chosen so does on rows it was not chosen on."""
        half = np.array([held_out("half" + text, 0.5) for text in self.texts])
        found = {}
        for i, label in enumerate(LABELS):
            score, truth = scores[:, i], self.truth[:, i] == 1
            said = np.where(
                half, score >= _limit(score[~half], truth[~half]), score >= _limit(score[half], truth[half])
            )
            figures = {
                "threshold": _limit(score, truth),
                "auc": float(roc_auc_score(truth, score)),
                "positives": int(truth.sum()),
                "recall": float(said[truth].mean()),
                "precision": float(truth[said].mean()),
                "false_positives": float(said[~truth].mean()),
            }
            found[SHOWN.get(label, label)] = {key: round(value, 4) for key, value in figures.items()}
        return found


def _limit(score: Floats, truth: NDArray[np.bool_]) -> float:
    """The lowest threshold, in hundredths, from LEAST on, whose false positives stay within FALSE_POSITIVES."""
    return max(LEAST, math.ceil(100 * np.quantile(score[~truth], 1 - FALSE_POSITIVES)) / 100)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
