"""Whether what vLLM raises before its first chunk is the request's fault.  vllm_server -> [request_fault].

vLLM finds such faults in many places and by many types. Taken for a failure of the engine, they would go from pool to
pool and put each to rest. Imports no vLLM.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from app.core.ports import EngineError
from app.engines.openai_stream import engine_error

_CLIENTS = "VLLMClientError"
"""vLLM's base class of faults that are the client's."""


def request_fault(error: Exception) -> EngineError | None:
    """The fault as an EngineError that no other pool is asked for; None: it is the engine's own failure."""
    if isinstance(error, ValidationError):
        return _invalid(error)
    is_clients = any(one.__name__ == _CLIENTS for one in type(error).__mro__)
    if not is_clients and not isinstance(error, ValueError | TypeError | KeyError):
        return None
    return _refusal(str(error), getattr(error, "parameter", None))


def _invalid(error: ValidationError) -> EngineError:
    """A request that vLLM's own schema refuses: its first fault."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(part) for part in fault["loc"] if isinstance(part, int) or part.islower()) or None
    return _refusal(fault["msg"].removeprefix("Value error, "), param)


def _refusal(message: str, param: Any) -> EngineError:
    return engine_error({"error": {"message": message, "code": 400, "param": param}})
