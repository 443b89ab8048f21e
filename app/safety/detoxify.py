"""Score how toxic a text is with Detoxify.  Port Classifier.

moderate -> [DetoxifyClassifier] -> scores of toxicity, severe_toxicity, obscene, threat, insult, identity_attack; and
of unreadable, the share of the letters that the model cannot read.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.models.catalog import resolve
from app.models.chunks import windows
from app.models.errors import ModelError, offline
from app.models.threads import Worker
from app.safety.deobfuscate import plain
from app.safety.segment import UNREADABLE, Segmenter, unreadable

CHECKPOINT = "detoxify.ckpt"
CHECKS = "selfcheck.json"
LIMIT = 512  # tokens that any published model takes
BATCH = 16  # windows in one pass
TOLERANCE = 0.02
PUBLISHED = "detoxify:"
# What any toxicity model must tell apart, for models that bring no known scores of their own.
CLEAN, TOXIC = "Thank you, that was very helpful.", "You are a stupid idiot and everyone hates you."
# The model was taught on whole comments: a lone `You`, the first word of many a polite answer, it takes for an insult.
CONTEXT = "Thank you. "
FRAGMENT = 24
_FRAGMENT = re.compile(r"\s*[^\W_]+['\u2019]?[^\W_]*(?:\s+[^\W_]+['\u2019]?[^\W_]*)?\s*")
LONE = re.compile("[\ud800-\udfff]")  # surrogates that JSON may carry alone
_RUDE = """
asshole assholes bastard bastards bitch bitches cock coward cunt dick dickhead dumb dumbass faggot fool fuck fucked
fucker fucking hate idiot idiotic idiots imbecile kill killed killing loser losers moron moronic morons motherfucker
murder nazi nigger pathetic piss prick pussy rape retard retarded scum shit shithead slut stupid suck sucker sucks ugly
wanker whore worthless
"""
RUDE = frozenset(_RUDE.split())
"""What digits and signs are read as letters in."""

Piece = tuple[int, str]
"""The number of a text, and a window of it."""


class DetoxifyClassifier:
    """A real Detoxify model: every label 0..1, of a long text the highest over its overlapping windows.

    A text whose words are disguised (look-alike letters, `1d10t`, `k i l l`) is scored as a reader sees it as well.
    model: `bundled:detoxify-minilm`; `path:` of a folder prepared like it (its checkpoint is a pickle: only one you
    trust); or a published one, `detoxify:original`, `detoxify:unbiased`, which Detoxify downloads.
    threads: of one pass. device: torch's name, `cpu`, `cuda:0`. int8: weights and activations in 8 bits, on a CPU only:
    3 times as fast; None: as the model's adapter.json says, which was measured so, and not for published models.
    Raises ModelError when the model is not there, or does not score known texts as it should.
    """

    def __init__(
        self,
        model: str = "bundled:detoxify-minilm",
        threads: int = 1,
        device: str = "cpu",
        int8: bool | None = None,  # noqa: FBT001 - a key of the config's options
    ) -> None:
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
        about = _about(folder)
        # An insult among many more tokens than the model was trained on is diluted.
        self._window = int(about.get("window", LIMIT))
        self.labels = tuple(self._detoxify.class_names)
        self._segment = Segmenter(self._detoxify.tokenizer.get_vocab())
        self._worker = Worker("detoxify", threads)
        self.int8 = False
        self._worker.wait(self._check, model, folder)
        if device == "cpu" and (about.get("int8", False) if int8 is None else int8):
            self._worker.wait(self._quantize)
            self._worker.wait(self._tells_insults, model)

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return each text's labels, 0..1; 0 on every label for an empty text. No text is refused or cut off."""
        shown = _in_context(texts)
        pieces = await self._worker.run(self._pieces, shown)
        scores = [dict.fromkeys(self.labels, 0.0) for _ in shown]
        for at in range(0, len(pieces), BATCH):  # other calls get their turn between the windows of a long text
            batch = pieces[at : at + BATCH]
            _highest(scores, batch, await self._worker.run(self._predict, batch))
        unread = await self._worker.run(self._unread, list(texts))
        return [{**labels, UNREADABLE: share} for labels, share in zip(_lower(texts, scores), unread, strict=True)]

    def _score(self, texts: list[str]) -> list[dict[str, float]]:
        """The same in the worker's own thread."""
        shown = _in_context(texts)
        scores, pieces = [dict.fromkeys(self.labels, 0.0) for _ in shown], self._pieces(shown)
        for at in range(0, len(pieces), BATCH):
            batch = pieces[at : at + BATCH]
            _highest(scores, batch, self._predict(batch))
        return _lower(texts, scores)

    def _pieces(self, texts: list[str]) -> list[Piece]:
        """What is scored, shortest first: a batch is padded to its longest."""
        cut = [
            (number, piece)
            for number, text in enumerate(texts)
            for reading in self._readings(text)
            for piece in windows(self._detoxify.tokenizer, reading, self._window, self._window // 5)
        ]
        return sorted(cut, key=lambda item: len(item[1]))

    def _readings(self, text: str) -> list[str]:
        """The text, and what a reader makes of it where that differs. Empty: nothing to score."""
        whole = _whole(text)
        seen = plain(whole, RUDE)
        found = (whole, seen, self._segment.changed(whole), self._segment.changed(seen))
        return list(dict.fromkeys(reading for reading in found if reading.strip())) if whole.strip() else []

    def _unread(self, texts: list[str]) -> list[float]:
        """Of each text the share of letters that the model's tokenizer does not know."""
        return [self._unknown_share(plain(self._segment(_whole(text)))) for text in texts]

    def _unknown_share(self, text: str) -> float:
        tokenizer = self._detoxify.tokenizer
        if not tokenizer.is_fast:  # such a one does not tell where its tokens stand
            return 0.0
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = zip(found["input_ids"], found["offset_mapping"], strict=True)
        return unreadable(text, (span for id_, span in spans if id_ == tokenizer.unk_token_id))

    def _predict(self, batch: list[Piece]) -> list[dict[str, float]]:
        """Each piece's labels. In int8 one by one: activations are scaled by the batch, neighbours would show."""
        if self.int8:
            return [{k: float(v) for k, v in self._detoxify.predict(piece).items()} for _, piece in batch]
        predicted = self._detoxify.predict([piece for _, piece in batch])
        # Detoxify gives a bare number for a batch of one
        columns = {k: v if isinstance(v, list) else [v] for k, v in predicted.items()}
        return [{label: float(values[row]) for label, values in columns.items()} for row in range(len(batch))]

    def _quantize(self) -> None:
        self._detoxify.model = quantized(self._detoxify.model)
        self.int8 = True

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
            self._tells_insults(model)

    def _tells_insults(self, model: str) -> None:
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


def quantized(model: Any) -> Any:
    """A copy of a torch model with its linear layers in 8 bits: weights once, activations at every pass. CPU only."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the successor, which is another package
        return torch.ao.quantization.quantize_dynamic(model.eval(), {torch.nn.Linear}, dtype=torch.qint8)


def _whole(text: str) -> str:
    """Without half characters: no tokenizer takes them."""
    return LONE.sub("\N{REPLACEMENT CHARACTER}", text)


def _in_context(texts: Sequence[str]) -> list[str]:
    """The texts, and then each fragment of them once more behind CONTEXT."""
    return [*texts, *(CONTEXT + text for text in texts if _is_fragment(text))]


def _lower(texts: Sequence[str], scores: list[dict[str, float]]) -> list[dict[str, float]]:
    """Of a fragment each label's lower score: alone or in context."""
    within = iter(scores[len(texts) :])
    pairs = ((alone, next(within) if _is_fragment(text) else alone) for text, alone in zip(texts, scores, strict=False))
    return [{label: min(alone[label], other[label]) for label in alone} for alone, other in pairs]


def _is_fragment(text: str) -> bool:
    """Whether it is the beginning of a sentence, too short to tell."""
    return len(text) <= FRAGMENT and bool(_FRAGMENT.fullmatch(text))


def _highest(scores: list[dict[str, float]], batch: Sequence[Piece], found: Sequence[dict[str, float]]) -> None:
    for (number, _), labels in zip(batch, found, strict=True):
        for label, value in labels.items():
            scores[number][label] = max(scores[number][label], value)


def _about(folder: Path | None) -> dict[str, Any]:
    """What adapter.json says of a model of ours: `window`, the tokens it was trained on, and `int8`."""
    about = folder / "adapter.json" if folder else None
    found: dict[str, Any] = json.loads(about.read_text()) if about and about.exists() else {}
    return found
