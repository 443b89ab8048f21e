"""Convert bundled weights, once, into what the libraries load. Called by runtime/prepare.py while it holds the lock.

A recipe reads folders whose files were hashed, writes into `out`, and must not depend on the network.
`final` is where `out` will stand after the rename.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from app.models.errors import ModelError, offline

if TYPE_CHECKING:
    import torch

Step = Callable[[float, str], None]
Recipe = Callable[[Sequence[Path], Path, Path, Step], None]

TEMPLATES = Path(__file__).parent / "templates"
"""Chat templates."""
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2(sources: Sequence[Path], out: Path, final: Path, step: Step) -> None:  # noqa: ARG001 - one shape for all
    """Dequantize the GGUF to bf16 safetensors: vLLM has no GGUF reader on CPU. About 20 s, 1 GB of memory."""
    step(0.05, "loading transformers")
    offline()
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    step(0.3, "reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(sources[0], gguf_file=GGUF, model_max_length=8192)
    # The reader leaves out the digits rule of this vocabulary (`tokenizer.ggml.pre = smollm`): runs of blanks before
    # a number would be cut otherwise than in training.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(out)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    for key in ("is_local", "local_files_only"):
        settings.pop(key, None)
    settings.pop("chat_template", None)
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    # The model's own template has no place for tools, so that none would reach it.
    shutil.copy(TEMPLATES / "smollm2.jinja", out / "chat_template.jinja")

    step(0.5, "dequantizing")
    with redirect_stderr(io.StringIO()):  # its progress bars would run through ours
        model = AutoModelForCausalLM.from_pretrained(
            sources[0], gguf_file=GGUF, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
    # What is written is plain bf16: no reader may look for a quantizer.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    step(0.9, "saving")
    with redirect_stderr(io.StringIO()):
        model.save_pretrained(out)


def detoxify(sources: Sequence[Path], out: Path, final: Path, step: Step) -> None:
    """Merge the toxicity adapter into MiniLM and write a checkpoint of the shape Detoxify loads.

    The checkpoint is a pickle (Detoxify reads no other): it is only ever made here, from hashed safetensors.
    """
    step(0.1, "loading transformers")
    offline()
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertTokenizer

    adapter_folder, base_folder = sources
    settings = json.loads((adapter_folder / "adapter.json").read_text())
    labels = settings["labels"]
    step(0.5, "merging")
    weights = merge(
        load_file(base_folder / "model.safetensors"),
        load_file(adapter_folder / "adapter.safetensors"),
        settings["scale"],
    )
    BertConfig.from_pretrained(base_folder, num_labels=len(labels)).save_pretrained(out)
    BertTokenizer.from_pretrained(base_folder, model_max_length=512).save_pretrained(out)
    # Detoxify loads `model_type` as a config, always: it must be a folder that is there, hence `final`.
    names = {"model_type": str(final), "model_name": "BertForSequenceClassification", "tokenizer_name": "BertTokenizer"}
    arch = {"args": {**names, "num_classes": len(labels)}}
    config = {"arch": arch, "dataset": {"args": {"classes": labels}}}
    step(0.8, "saving")
    torch.save({"config": config, "state_dict": weights}, out / "detoxify.ckpt")
    for name in ("adapter.json", "thresholds.json", "selfcheck.json"):
        (out / name).write_bytes((adapter_folder / name).read_bytes())


def adapted(sources: Sequence[Path], out: Path, final: Path, step: Step) -> None:  # noqa: ARG001 - one shape for all
    """Merge an adapter into MiniLM and write it as model.onnx for app/models/minilm.py. About 10 s.

    adapter.json: `task` (`sequence`: one row of logits a text; `token`: one a token), `labels`, `scale`, and `int8`:
    weights and activations in 8 bits, for models whose figures were measured so.
    """
    step(0.1, "loading transformers")
    offline()
    from safetensors.torch import load_file
    from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

    adapter_folder, base_folder = sources
    settings = json.loads((adapter_folder / "adapter.json").read_text())
    step(0.4, "merging")
    base, adapter = load_file(base_folder / "model.safetensors"), load_file(adapter_folder / "adapter.safetensors")
    weights = merge(base, adapter, settings["scale"])
    config = BertConfig.from_pretrained(base_folder, num_labels=len(settings["labels"]))
    kinds = {"sequence": BertForSequenceClassification, "token": BertForTokenClassification}
    model = kinds[settings["task"]](config).eval()
    lacking, unused = model.load_state_dict(weights, strict=False)
    if lacking or any("pooler" not in key for key in unused):
        message = f"the adapter in {adapter_folder.name} does not fit its base: {[*lacking, *unused][:3]}: retrain it"
        raise ModelError(message)
    step(0.6, "exporting")
    export(model, out / "model.onnx", int8=settings.get("int8", False))
    for folder, name in (
        (base_folder, "tokenizer.json"),
        *((adapter_folder, p.name) for p in adapter_folder.glob("*.json")),
    ):
        (out / name).write_bytes((folder / name).read_bytes())


def injection(sources: Sequence[Path], out: Path, final: Path, step: Step) -> None:
    """Our adapter merged into MiniLM, and beside it in `theirs` the network that it is summed with."""
    *ours, theirs = sources
    adapted(ours, out, final, step)
    (out / "theirs").mkdir()
    shutil.copy(theirs / "model_quantized.onnx", out / "theirs")


def export(model: torch.nn.Module, path: Path, *, int8: bool) -> None:
    """Write a BERT that takes input_ids, attention_mask, token_type_ids, int64 (texts, tokens), and gives logits."""
    import torch

    ids = torch.ones((2, 8), dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
    write(model, inputs, {key: {0: "texts", 1: "tokens"} for key in (*inputs, "logits")}, path, int8=int8)


def write(
    model: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    axes: Mapping[str, Mapping[int, str]],
    path: Path,
    *,
    int8: bool,
) -> None:
    """Write a model as ONNX, its output by the name `logits`. axes: those that vary, of each input and the output."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = path.with_suffix(".fp32") if int8 else path
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # of the older exporter: the newer one wants onnxscript and gives the same
        torch.onnx.export(
            model, tuple(inputs.values()), str(plain), input_names=list(inputs), output_names=["logits"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
    if int8:
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends a preparation that changes nothing here
        try:
            # Where a CPU lacks VNNI instructions, sums of 8-bit products overflow; 7-bit weights, scaled by channel,
            # score alike on every CPU and lie closer to float32.
            quantize_dynamic(plain, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        finally:
            root.setLevel(level)
        plain.unlink()


def merge(
    base: Mapping[str, torch.Tensor], adapter: Mapping[str, torch.Tensor], scale: float
) -> dict[str, torch.Tensor]:
    """Add each low-rank pair to its layer: W + scale * B @ A, in float32. Keys as BertForSequenceClassification's.

    adapter: `LAYER.lora_a` (rank, in), `LAYER.lora_b` (out, rank); any other key replaces or adds a weight as it is.
    """
    merged = {f"bert.{key}": value.float() for key, value in base.items() if not key.endswith("position_ids")}
    for key, value in adapter.items():
        layer, _, part = key.rpartition(".")
        if part == "lora_a":
            if f"{layer}.weight" not in merged:
                message = f"the adapter changes `{layer}`, which the base model has not: retrain the adapter"
                raise ModelError(message)
            merged[f"{layer}.weight"] += scale * (adapter[f"{layer}.lora_b"].float() @ value.float())
        elif part != "lora_b":
            merged[key] = value.float().clone()
    return merged
