"""Log probabilities as OpenAI's chat API has them, from whatever an engine sends.  choice_stream -> [here]."""

from __future__ import annotations

import math
from typing import Any

from app.engines.loose_json import a_count, an_object, objects
from app.engines.surrogates import whole

Entry = dict[str, Any]


def logprobs_of(said: Any) -> list[Entry] | None:
    """The entries of `logprobs`; those of the completions API of old are turned into them. None: there are none."""
    one = an_object(said)
    if isinstance(one.get("tokens"), list):
        return _of_old(one) or None
    return [entry for each in objects(one.get("content")) if (entry := _read(each))] or None


def _of_old(said: Entry) -> list[Entry]:
    numbers, tops = said.get("token_logprobs"), said.get("top_logprobs")
    found = []
    for at, token in enumerate(said["tokens"]):
        entry = _entry(token, _at(numbers, at))
        if entry is not None:
            pairs = an_object(_at(tops, at)).items()
            found.append({**entry, "top_logprobs": [top for pair in pairs if (top := _entry(*pair))]})
    return found


def _read(said: Entry) -> Entry | None:
    entry = _entry(said.get("token"), said.get("logprob"), said.get("bytes"))
    if entry is None or "top_logprobs" not in said:
        return entry
    return {**entry, "top_logprobs": [top for one in objects(said["top_logprobs"]) if (top := _read(one))]}


def _entry(token: Any, logprob: Any, said: Any = None) -> Entry | None:
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    token = whole(token)
    number = max(-9999.0, min(float(logprob), 0.0)) if not math.isnan(logprob) else -9999.0
    raw = [a_count(byte) for byte in said] if isinstance(said, list | tuple) else None
    right = raw is not None and all(byte is not None and byte < 256 for byte in raw)
    return {"token": token, "logprob": number, "bytes": raw if right else list(token.encode())}


def _at(values: Any, at: int) -> Any:
    return values[at] if isinstance(values, list) and at < len(values) else None
