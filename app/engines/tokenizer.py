"""Text and tokens in the gateway, without a model: a tokenizer.json where there is one, else an estimate of counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Vocabulary:
    """A model's tokenizer and chat template.  Port Tokenizer.

    source: a model (`bundled:`, `path:`, `hub:`). Raises ModelError when it is not there.
    """

    def __init__(self, source: str) -> None:
        from tokenizers import Tokenizer

        from app.models.catalog import resolve

        place = resolve(source)
        file = Path(place) / "tokenizer.json"
        self._tokenizer: Any = Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(place)
        self._size: int = self._tokenizer.get_vocab_size()
        self._template, self._names = _template(Path(place))

    def count(self, text: str) -> int:
        """How many tokens the text has, special ones left out."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """The text's ids."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The ids' text, special ones and all. Raises ValueError for an id that is none."""
        wrong = next((one for one in ids if not 0 <= one < self._size), None)
        if wrong is not None:
            msg = f"token id {wrong} is not below {self._size}, the size of the vocabulary"
            raise ValueError(msg)
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def chat(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool) -> str | None:
        """The chat as the model reads it; None: it has no template. Raises ValueError: the template refuses."""
        if self._template is None:
            return None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        try:
            template = environment.from_string(self._template)
            return template.render(messages=list(messages), add_generation_prompt=prompt, **self._names)
        except (TemplateError, TypeError) as error:
            msg = f"the model's chat template does not take these messages: {error}"
            raise ValueError(msg) from error


def estimate(text: str) -> int:
    """A lower bound for English and code: four bytes a token."""
    return len(text.encode()) // 4


def _refuse(why: str) -> None:
    raise TemplateError(why)


def _template(place: Path) -> tuple[str | None, dict[str, str]]:
    """The chat template of a model's folder, and the names of special tokens that it may use."""
    file = place / "tokenizer_config.json"
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    special: tuple[str, ...] = ("bos_token", "eos_token", "pad_token", "unk_token")
    names = {name: _said(about[name]) for name in special if name in about}
    apart = place / "chat_template.jinja"
    template = apart.read_text(encoding="utf-8") if apart.exists() else about.get("chat_template")
    return (template if isinstance(template, str) else None), names


def _said(token: Any) -> str:
    """Old configs write a special token as an object."""
    return str(token["content"] if isinstance(token, dict) else token or "")
