"""Cut a text that is longer than a model's limit into overlapping pieces, so that no part of it goes unseen.

For the torch adapters: models take 256 or 512 tokens, and their libraries drop the rest without a word.
"""

from __future__ import annotations

from typing import Any

SPECIAL = 2  # [CLS] and [SEP], which the model's library adds to every piece


def windows(tokenizer: Any, text: str, limit: int, overlap: int) -> list[str]:
    """Return pieces of `text` in order, all of the same number of tokens; the whole text, once, when it fits.

    tokenizer: a fast tokenizer of transformers. limit: tokens in a piece, special ones included. overlap: tokens that
    two neighbours share, so that what stands on a cut is whole in one of them.
    """
    if len(text.encode()) + SPECIAL <= limit:  # no vocabulary makes more tokens than bytes: most texts end here
        return [text]
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if len(places) + SPECIAL <= limit:
        return [text]
    # A piece may become a few tokens longer when it is tokenized by itself: a word cut in two.
    inner = limit - SPECIAL - 8
    last = len(places) - inner
    starts = [*range(0, last, inner - overlap), last]
    return [text[places[at][0] : places[at + inner - 1][1]] for at in starts]
