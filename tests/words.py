"""A real tokenizer of a few words, for tests that need token ids and no model."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from app.engines.tokenizer import Vocabulary

WORDS = {word: at for at, word in enumerate(("<s>", "<unk>", "hello", "world", "user:", "assistant:", "system:"))}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ m.role }}: {{ m.content }}{% endfor %}"
    "{% if messages[0].role == 'tool' %}{{ raise_exception('a chat does not begin with a tool') }}{% endif %}"
    "{% if add_generation_prompt %} assistant:{% endif %}"
)


def vocabulary(folder: Path, template: str | None = TEMPLATE) -> Vocabulary:
    """The words above as a model's folder holds them: `<s>` stands before a text, other words are unknown."""
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"bos_token": {"content": "<s>"}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    return Vocabulary(f"path:{folder}")
