"""Text and tokens in the gateway, without a model: a tokenizer.json where there is one, else an estimate of counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.events import Prompt
from app.core.ports import Tokenizer
from app.core.prompt_size import read_texts
from app.core.turns import ordered

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
"""Special tokens that a template may name."""


class Vocabulary:
    """A model's tokenizer and chat template.  Port Tokenizer.

    source: a model (`bundled:`, `path:`, `hub:`). Raises ModelError when it is not there.
    """

    def __init__(self, source: str) -> None:
        from tokenizers import Tokenizer as Words

        from app.models.catalog import resolve

        place = resolve(source)
        file = Path(place) / "tokenizer.json"
        self._tokenizer: Any = Words.from_file(str(file)) if file.exists() else Words.from_pretrained(place)
        self._size: int = self._tokenizer.get_vocab_size()
        self._about = _about(Path(place))
        self._template = compiled(self._about.get("chat_template"))
        self._names = {name: _said(self._about[name]) for name in SPECIAL if name in self._about}

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

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> str | None:
        """The chat as the model reads it; None: it has no template. Raises ValueError: the template refuses.

        prompt: with what begins an answer. tools: as the chat API has them. more: arguments of the template.
        """
        if self._template is None:
            return None
        said = {
            "messages": [as_read(one) for one in messages],
            "tools": [as_offered(one) for one in tools or ()] or None,
        }
        try:
            return self._template.render(**(more or {}), **said, add_generation_prompt=prompt, **self._names)
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            msg = f"the model's chat template does not take these messages: {error}"
            raise ValueError(msg) from error

    def info(self) -> Mapping[str, Any]:
        """The model's tokenizer_config.json, its template as it is."""
        return self._about


def count_chat(prompt: Prompt, tokenizer: Tokenizer | None, count: Callable[[str], int]) -> int:
    """Tokens of a prompt as the engine counts them: through the model's own template, tools and all.

    Without a template, or where it refuses, everything is counted that would be read, by `count`. Much text: call it
    in a thread.
    """
    if tokenizer is not None and prompt.raw:
        return sum(len(tokenizer.encode(text, special=True)) for text in prompt.texts)
    tools = prompt.params.get("tools")
    if tokenizer is not None:
        written = [message.wire() for message in ordered(prompt.messages)]
        more = prompt.params.get("chat_template_kwargs")
        with suppress(ValueError):
            chat = tokenizer.chat(written, prompt=not prompt.resume, tools=tools, more=more)
            if chat is not None:
                return len(tokenizer.encode(chat, special=False))
    return sum(map(count, read_texts(prompt)))


def as_read(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as vLLM hands it to the template: the arguments of tool calls are an object there."""
    if not message.get("tool_calls"):
        return {name: value for name, value in message.items() if name != "tool_calls"}
    calls = [
        {**call, "function": {**call["function"], "arguments": _object(call["function"].get("arguments"))}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def as_offered(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as vLLM hands it to the template: what was left out is null."""
    function = tool["function"]
    strict = {} if function.get("strict") is None else {"strict": function["strict"]}
    named = {name: function.get(name) for name in ("name", "description", "parameters")}
    return {"type": "function", "function": named | strict}


def _object(arguments: Any) -> Any:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments else {}
        except ValueError:
            arguments = {}
    return arguments if isinstance(arguments, dict) else {}


def compiled(template: Any) -> Template | None:
    """A chat template in transformers' own environment."""
    if not isinstance(template, str):
        return None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005 - as transformers
    environment.filters["tojson"] = _tojson
    return environment.from_string(template)


def _tojson(value: Any, **form: Any) -> str:
    """As transformers', which escapes nothing: `indent`, `separators`, `sort_keys`."""
    return json.dumps(value, **{"ensure_ascii": False, **form})


def estimate(text: str) -> int:
    """A lower bound for English and code: four bytes a token."""
    return len(text.encode()) // 4


def _refuse(why: str) -> None:
    raise TemplateError(why)


def _about(place: Path) -> dict[str, Any]:
    """tokenizer_config.json of a model's folder, with its chat template wherever that stands."""
    file = place / "tokenizer_config.json"
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    apart = place / "chat_template.jinja"
    return about | ({"chat_template": apart.read_text(encoding="utf-8")} if apart.exists() else {})


def _said(token: Any) -> str:
    """Old configs write a special token as an object."""
    return str(token["content"] if isinstance(token, dict) else token or "")
