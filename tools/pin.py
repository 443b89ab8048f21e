"""What the training scripts share: which rows are held out, and the pins of the weights that they write."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from app.models.catalog import PINS

if TYPE_CHECKING:
    from pathlib import Path


def held_out(key: str, share: float) -> bool:
    """Whether a row is measured on and not trained on: by its hash, so the same in every run."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) < share * 2**32


def pin(folder: Path) -> None:
    """Replace the lines of `app/weights/FOLDER` in SHA256SUMS, so that what is prepared from it is prepared anew.

    Weights written elsewhere, to try something, are left unpinned.
    """
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone
    if folder.resolve().parent != PINS.parent:
        return
    prefix = f"app/weights/{folder.name}/"
    lines = [line for line in PINS.read_text().splitlines() if f"  {prefix}" not in line]
    lines += [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {prefix}{file.name}" for file in folder.iterdir()]
    PINS.write_text("\n".join(sorted(lines, key=lambda line: line.split()[1])) + "\n")
