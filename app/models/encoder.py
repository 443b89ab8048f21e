"""Turn texts into vectors with a sentence-transformers model.  Port Encoder.

recall, route -> [MiniLMEncoder] -> Vector. One pass per call serves the semantic cache and the router.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.core.ports import Vector
from app.models.catalog import resolve
from app.models.chunks import windows
from app.models.errors import offline
from app.models.threads import Worker

OVERLAP = 16


class MiniLMEncoder:
    """all-MiniLM-L6-v2, or any other sentence-transformers model: float32 rows of unit length (MiniLM: 384).

    model: a source (`bundled:`, `path:`, `hub:`). threads: of one pass. device: torch's name, `cpu`, `cuda:0`.
    Raises ModelError when the model is not there.
    """

    def __init__(self, model: str = "bundled:minilm-l6-v2", threads: int = 1, device: str = "cpu") -> None:
        folder = resolve(model)
        if not model.startswith("hub:"):
            offline()
        from sentence_transformers import SentenceTransformer  # heavy

        self._model: Any = SentenceTransformer(folder, device=device)
        self._limit = int(self._model.max_seq_length)
        self.dim = int(self._model.get_embedding_dimension())
        self._worker = Worker("encoder", threads)
        self._worker.wait(self._encode, ["warm"])  # the first pass is many times slower

    async def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 (len(texts), dim), rows of unit length.

        A text over the model's limit (MiniLM: 256 tokens) is the mean of its windows, scaled to unit length: two
        long prompts that only end differently must not look the same to the cache.
        """
        return await self._worker.run(self._encode, list(texts))

    def _encode(self, texts: list[str]) -> Vector:
        import numpy as np

        if not texts:
            return np.zeros((0, self.dim), np.float32)
        cut = [windows(self._model.tokenizer, text, self._limit, OVERLAP) for text in texts]
        pieces = [piece for parts in cut for piece in parts]
        rows = self._model.encode(pieces, normalize_embeddings=True, show_progress_bar=False)
        if len(pieces) == len(texts):
            return np.asarray(rows, np.float32)
        firsts = np.cumsum([0, *(len(parts) for parts in cut[:-1])])
        sums = np.add.reduceat(rows, firsts)
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)
