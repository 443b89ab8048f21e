"""Score how toxic a text is with Detoxify.  Port Classifier.

moderate -> [DetoxifyClassifier] -> scores of toxicity, severe_toxicity, obscene, threat, insult, identity_attack.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.adapters.threads import Worker
from app.adapters.windows import windows
from app.models import ModelError, offline, resolve

CHECKPOINT = "detoxify.ckpt"
CHECKS = "selfcheck.json"
LIMIT = 512  # tokens that any published model takes
BATCH = 16  # windows in one pass
TOLERANCE = 0.02
PUBLISHED = "detoxify:"
# What any toxicity model must tell apart, for models that bring no known scores of their own.
CLEAN, TOXIC = "Thank you, that was very helpful.", "You are a stupid idiot and everyone hates you."


class DetoxifyClassifier:
    """A real Detoxify model: every label 0..1, of a long text the highest over its overlapping windows.

    model: `bundled:detoxify-minilm`; `path:` of a folder prepared like it (its checkpoint is a pickle: only one you
    trust); or a published one, `detoxify:original`, `detoxify:unbiased`, which Detoxify downloads.
    threads: of one pass. device: torch's name, `cpu`, `cuda:0`.
    Raises ModelError when the model is not there, or does not score known texts as it should.
    """

    def __init__(self, model: str = "bundled:detoxify-minilm", threads: int = 1, device: str = "cpu") -> None:
        published = model.startswith(PUBLISHED)
        folder = None if published else Path(resolve(model))
        if not published:
            offline()
        from detoxify import Detoxify  # heavy

        if folder is None:
            self._detoxify: Any = Detoxify(model.removeprefix(PUBLISHED), device=device)
        else:
            checkpoint = str(folder / CHECKPOINT)
            self._detoxify = Detoxify(checkpoint=checkpoint, huggingface_config_path=str(folder), device=device)
        self._window = _window(folder)
        self.labels = tuple(self._detoxify.class_names)
        self._worker = Worker("detoxify", threads)
        self._worker.wait(self._check, model, folder)

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return each text's labels, 0..1; 0 on every label for an empty text."""
        return await self._worker.run(self._score, list(texts))

    def _score(self, texts: list[str]) -> list[dict[str, float]]:
        cut = [
            (number, piece)
            for number, text in enumerate(texts)
            if text.strip()
            for piece in windows(self._detoxify.tokenizer, text, self._window, self._window // 5)
        ]
        cut.sort(key=lambda item: len(item[1]))  # like lengths together: a batch is padded to its longest
        scores = [dict.fromkeys(self.labels, 0.0) for _ in texts]
        for at in range(0, len(cut), BATCH):
            batch = cut[at : at + BATCH]
            predicted = self._detoxify.predict([piece for _, piece in batch])
            for label, values in predicted.items():
                # Detoxify gives a bare number for a batch of one
                for (number, _), value in zip(batch, values if isinstance(values, list) else [values], strict=True):
                    scores[number][label] = max(scores[number][label], value)
        return scores

    def _check(self, model: str, folder: Path | None) -> None:
        """Detoxify loads a checkpoint with wrong keys without an error, and then scores at random: hence this."""
        if folder is not None and (folder / CHECKS).exists():
            known = json.loads((folder / CHECKS).read_text())
            found = self._score([check["text"] for check in known])
            for check, scores in zip(known, found, strict=True):
                for label, expected in check["scores"].items():
                    if abs(scores.get(label, -1.0) - expected) > TOLERANCE:
                        got = f"scores {label} {scores.get(label)}, not {expected}"
                        self._refuse(model, f"{got}, for {check['text']!r}")
        else:
            clean, toxic = self._score([CLEAN, TOXIC])
            if clean["toxicity"] > 0.2 or toxic["toxicity"] < 0.8:
                self._refuse(model, "does not tell an insult from thanks")

    @staticmethod
    def _refuse(model: str, why: str) -> None:
        message = (
            f"model `{model}` {why}: its weights were not loaded as trained. Delete its folder in the cache, "
            "run `penstock models prepare`, and check the versions of detoxify and transformers against the lock"
        )
        raise ModelError(message)


def _window(folder: Path | None) -> int:
    """Tokens scored at once: as many as the model was trained on. An insult among many more is diluted."""
    about = folder / "adapter.json" if folder else None
    return int(json.loads(about.read_text())["window"]) if about and about.exists() else LIMIT
