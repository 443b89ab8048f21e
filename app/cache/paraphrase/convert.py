"""Convert the paraphrase judge's bundled weights and MiniLM into one ONNX model.  runtime/prepare -> [convert]."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from app.models.convert import Step, write
from app.models.errors import offline


def pairs(sources: Sequence[Path], out: Path, final: Path, step: Step) -> None:  # noqa: ARG001 - one shape for all
    """MiniLM and the network that compares two texts' tokens, as one model.onnx for paraphrase/judge.py. About 5 s."""
    step(0.1, "loading transformers")
    offline()
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    from app.cache.paraphrase.features import NAMES
    from app.cache.paraphrase.network import Committee, Reader

    own, base = sources
    settings = json.loads((own / "adapter.json").read_text())
    committee = Committee(settings["members"])
    committee.load_state_dict({key: value.float() for key, value in load_file(own / "network.safetensors").items()})
    step(0.5, "exporting")
    encoder = BertModel(BertConfig.from_pretrained(base, attn_implementation="eager"), add_pooling_layer=False)
    weights = load_file(base / "model.safetensors")
    encoder.load_state_dict({k: v for k, v in weights.items() if "pooler" not in k and "position_ids" not in k})
    ids = torch.ones((1, 8), dtype=torch.int64)
    inputs = {"first": ids, "second": ids[:, :6], "strings": torch.zeros(1, len(NAMES))}
    axes = {"first": {1: "tokens"}, "second": {1: "others"}}
    write(Reader(encoder, committee).eval(), inputs, axes, out / "model.onnx", int8=settings["int8"])
    (out / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    for path in (*own.glob("*.json"), own / "trees.safetensors"):
        (out / path.name).write_bytes(path.read_bytes())
