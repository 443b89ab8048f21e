"""An OpenAI-compatible API elsewhere as the Engine port.  generate -> [UpstreamEngine] -> the upstream's API.

One client and its connections serve all calls. Closing the stream closes its connection: that is how an upstream
learns that nobody waits for the rest.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from app.core.ports import EngineError
from app.engines.answer_body import AnswerBody
from app.engines.event_stream import LONGEST_EVENT
from app.engines.loose_json import parsed
from app.engines.openai_stream import STREAM_OPTIONS, ChatStream, completion_params, engine_error
from app.engines.resume import CANNOT_RESUME
from app.engines.vllm_params import EXTENSIONS, for_vllm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from app.core.events import Token, Usage
    from app.core.ports import Generation

_BAD_REQUEST = 400


class UpstreamEngine:
    """`base_url` ends where `/chat/completions` begins, as OpenAI's clients have it (`https://host/v1`).

    key_env: the environment variable that holds the upstream's key, read at every call so that it can be rotated.
    It continues a raw request's text, and nobody's chat answer: OpenAI's API has no word for that.
    extensions: whether it knows vLLM's own parameters; a call with one is refused where it does not.
    timeout: seconds without a byte, connecting or streaming, before the upstream is given up. client: one's own.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_env: str | None = None,
        timeout: float = 60.0,
        client: httpx.AsyncClient | None = None,
        *,
        extensions: bool = True,
    ) -> None:
        self._url = base_url.rstrip("/")
        self._model = model
        self._key_env = key_env
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )
        self._extensions = extensions
        # What this upstream turned out not to know; each costs one refused request, once.
        self._several_greedy = True
        self._stream_options: dict[str, bool] | None = STREAM_OPTIONS
        self._limit = "max_tokens"

    async def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        """Stream the upstream's answer; closing it closes the connection. Raises EngineError."""
        self._check(request)
        if request.resume and not request.raw:
            message = "the upstream cannot go on with an answer"
            raise EngineError(message, retryable=True, code=CANNOT_RESUME)
        stream = ChatStream(int(request.params.get("n") or 1))
        body = AnswerBody(stream)
        try:
            async with self._open(request) as response:
                pieces = response.aiter_bytes()
                async for piece in pieces:
                    for event in body.feed(piece):
                        yield event
                    if stream.done:
                        break
                for event in _ending(body, stream):
                    yield event
                await _drain(pieces)
        except httpx.HTTPError as error:
            # Only its kind: the message may hold the upstream's address.
            message = f"the upstream does not answer ({type(error).__name__})"
            raise EngineError(message, retryable=True) from None

    def _check(self, request: Generation) -> None:
        """Nothing that was asked for is dropped in silence. Raises EngineError."""
        asked = next((name for name in sorted(EXTENSIONS & request.params.keys()) if not self._extensions), None)
        if asked is not None:
            message = f"No pool of this model knows the parameter `{asked}`. Leave it out."
            raise EngineError(message, retryable=False, code="unsupported_parameter", param=asked)

    async def ready(self) -> bool:
        """Whether the upstream answers at all: an API without `/models` is up just the same. Never raises."""
        try:
            response = await self._client.get(f"{self._url}/models", headers=self._headers(), timeout=5.0)
        except Exception:  # noqa: BLE001  whatever went wrong, it is not ready
            return False
        return response.status_code < 500 and response.status_code not in (401, 403)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _open(self, request: Generation) -> AsyncIterator[httpx.Response]:
        """The upstream's answer, of status 200, its body unread. Raises EngineError, httpx.HTTPError."""
        while True:
            headers = {**self._headers(), "content-type": "application/json", "x-request-id": request.call_id}
            body = orjson.dumps(self._body(request))
            url = f"{self._url}/{'completions' if request.raw else 'chat/completions'}"
            async with self._client.stream("POST", url, content=body, headers=headers) as r:
                if r.status_code < _BAD_REQUEST:
                    yield r
                    return
                error = engine_error(_json(await r.aread()), r.status_code)
            if not self._learn(error, r.status_code):
                raise error

    def _body(self, request: Generation) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if value is not None}
        params = params if self._several_greedy else for_vllm(params)
        limit = params.pop("max_completion_tokens", None) or params.pop("max_tokens", None)
        params |= {self._limit: limit} if limit else {}
        params |= {"stream_options": self._stream_options} if self._stream_options else {}
        asked: dict[str, Any] = {"messages": [message.wire() for message in request.messages]}
        if request.raw:
            asked, params = {"prompt": request.messages[0].text}, completion_params(params)
        return {**params, "model": self._model, **asked, "stream": True}

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_env) if self._key_env else None
        return {"authorization": f"Bearer {key}"} if key else {}

    def _learn(self, error: EngineError, status: int) -> bool:
        """Whether the refusal names a field of ours that this upstream does not know: then ask without it."""
        said = f"{error.param} {error.message}"
        if status not in (400, 422):
            return False
        if self._several_greedy and "greedy" in said and "n must be 1" in said:
            self._several_greedy = False
            return True
        if "stream_options" in said or "continuous_usage_stats" in said:
            known = self._stream_options
            self._stream_options = {"include_usage": True} if known == STREAM_OPTIONS else None
            return known is not None
        if self._limit == "max_tokens" and "max_completion_tokens" in said:
            self._limit = "max_completion_tokens"
            return True
        return False


def _ending(body: AnswerBody, stream: ChatStream) -> list[Token | Usage]:
    """What is left once nothing more comes, last the Usage. Raises EngineError: the answer is not whole."""
    rest = body.end()
    if not (stream.begun and (stream.ended or stream.done)):
        message = "the upstream ended its answer too early"
        raise EngineError(message, retryable=True)
    return [*rest, *stream.end(), stream.usage]


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read what follows the end, so that the connection can serve the next call; an upstream that lingers loses it."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(0.5):
            async for _ in pieces:
                pass


def _json(body: bytes) -> Any:
    """None for a proxy's HTML page: it says nothing."""
    return parsed(body[:LONGEST_EVENT])
