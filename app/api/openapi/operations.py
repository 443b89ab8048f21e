"""Every route of the API, as /openapi.json describes it.  wire models, shapes -> [operations] -> openapi.

Routes read raw bodies, so FastAPI cannot know them. A new route of the API needs a line in OPERATIONS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from app.api.anthropic import request as sent
from app.api.anthropic.batches import MessageBatchRequest
from app.api.openai.batches import BatchRequest
from app.api.openai.chat.request import ChatRequest
from app.api.openai.completions.request import CompletionRequest
from app.api.openai.embeddings import EmbeddingRequest
from app.api.openai.moderations import ModerationRequest
from app.api.openai.responses import request as asked
from app.api.openai.responses.route import Listed
from app.api.openai.tokenize import DetokenizeRequest, TokenizeRequest
from app.api.openapi.schemas import base, chat, files, judged, messages, responses
from app.api.ops.insight import Span

HI = [{"role": "user", "content": "Hello!"}]

READ = (401, 403, 429, 500, 503)
POSTED = (400, 401, 403, 404, 409, 413, 429, 500, 503, 504)
MESSAGED = (400, 401, 403, 404, 409, 413, 429, 500, 504, 529)
BATCHED = (401, 403, 429, 500, 529)
PLAIN_POSTED = (400, 401, 403, 404, 413, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. answer: of status 200; None is a `text`. body: the request's type.

    event: of its stream; None: it has none. errors: statuses that answer in the shape of `fault`. also: other statuses
    with a shape of their own. takes: headers, of openapi.PARAMETERS. sends: headers, of openapi.MORE_HEADERS.
    query: what stands behind the path. call: whether the answer carries a call's headers. open: it needs no key.
    """

    summary: str
    answer: type[BaseModel] | None = None
    request: type[BaseModel] | None = None
    example: Any = None
    event: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    fault: type[BaseModel] = base.Error
    also: dict[int, type[BaseModel]] = field(default_factory=dict)
    takes: tuple[str, ...] = ("X-Client-Request-Id",)
    query: type[BaseModel] | None = None
    sends: tuple[str, ...] = ()
    body: str = "application/json"
    text: str = "text/plain"
    call: bool = False
    open: bool = False

    @property
    def models(self) -> Iterator[type[BaseModel]]:
        """Every model that it refers to."""
        yield from (
            one for one in (self.answer, self.request, self.event, self.fault, *self.also.values()) if one is not None
        )


CALL = ("X-Client-Request-Id", "Idempotency-Key", "traceparent")
OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/chat/completions"): Operation(
        "Chat completion",
        chat.ChatCompletion,
        ChatRequest,
        {"model": "auto", "messages": HI},
        event=chat.ChatChunk,
        errors=POSTED,
        takes=(*CALL, "Cache-Control"),
        call=True,
    ),
    ("POST", "/v1/completions"): Operation(
        "Text completion",
        chat.TextCompletion,
        CompletionRequest,
        {"model": "auto", "prompt": "Once upon a time"},
        event=chat.TextCompletion,
        errors=POSTED,
        takes=CALL,
        call=True,
    ),
    ("POST", "/v1/responses"): Operation(
        "Response",
        responses.ResponseObject,
        asked.ResponsesRequest,
        {"model": "auto", "input": "Hello!"},
        event=responses.ResponseEvent,
        errors=POSTED,
        takes=(*CALL, "Cache-Control"),
        call=True,
    ),
    ("POST", "/v1/responses/compact"): Operation(
        "Sum a conversation up",
        responses.CompactedResponse,
        asked.ResponsesRequest,
        {"model": "auto", "input": "Hello!"},
        errors=POSTED,
        takes=(*CALL, "Cache-Control"),
        call=True,
    ),
    ("POST", "/v1/responses/input_tokens"): Operation(
        "Count a response's input",
        responses.InputTokens,
        asked.Counted,
        {"model": "auto", "input": "Hello!"},
        errors=PLAIN_POSTED,
    ),
    ("GET", "/v1/responses/{response_id}"): Operation(
        "A stored response", responses.ResponseObject, errors=(404, *READ)
    ),
    ("DELETE", "/v1/responses/{response_id}"): Operation(
        "Delete a stored response", responses.ResponseDeleted, errors=(404, *READ)
    ),
    ("POST", "/v1/responses/{response_id}/cancel"): Operation(
        "Cancel a background response", responses.ResponseObject, errors=(400, 404, *READ)
    ),
    ("GET", "/v1/responses/{response_id}/input_items"): Operation(
        "What a stored response was made from", responses.ItemList, query=Listed, errors=(400, 404, *READ)
    ),
    ("POST", "/v1/messages"): Operation(
        "Message",
        messages.MessageObject,
        sent.MessagesRequest,
        {"model": "auto", "max_tokens": 64, "messages": HI},
        event=messages.MessageEvent,
        errors=MESSAGED,
        fault=messages.Fault,
        takes=(*CALL, "Cache-Control"),
        sends=("request-id",),
        call=True,
    ),
    ("POST", "/v1/messages/count_tokens"): Operation(
        "Count a message's tokens",
        messages.MessageTokens,
        sent.Counted,
        {"model": "auto", "messages": HI},
        errors=(400, 401, 403, 404, 413, 429, 500, 529),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("POST", "/v1/messages/batches"): Operation(
        "Begin a batch of messages",
        messages.MessageBatch,
        MessageBatchRequest,
        {"requests": [{"custom_id": "first", "params": {"model": "auto", "max_tokens": 64, "messages": HI}}]},
        errors=(400, 401, 403, 404, 413, 429, 500, 529),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("GET", "/v1/messages/batches"): Operation(
        "List batches of messages",
        messages.MessageBatchPage,
        query=messages.PageQuery,
        errors=(400, *BATCHED),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("GET", "/v1/messages/batches/{message_batch_id}"): Operation(
        "Look a batch of messages up",
        messages.MessageBatch,
        errors=(404, *BATCHED),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("GET", "/v1/messages/batches/{message_batch_id}/results"): Operation(
        "The results of a batch of messages",
        errors=(404, *BATCHED),
        fault=messages.Fault,
        text="application/x-jsonl",
        sends=("request-id",),
    ),
    ("POST", "/v1/messages/batches/{message_batch_id}/cancel"): Operation(
        "Cancel a batch of messages",
        messages.MessageBatch,
        errors=(404, 409, *BATCHED),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("DELETE", "/v1/messages/batches/{message_batch_id}"): Operation(
        "Delete a batch of messages",
        messages.MessageBatchDeleted,
        errors=(400, 404, *BATCHED),
        fault=messages.Fault,
        sends=("request-id",),
    ),
    ("POST", "/v1/embeddings"): Operation(
        "Embeddings",
        judged.EmbeddingList,
        EmbeddingRequest,
        {"model": "embedding", "input": ["a river", "a mountain"]},
        errors=POSTED,
        takes=CALL,
        call=True,
    ),
    ("POST", "/v1/moderations"): Operation(
        "Moderation",
        judged.ModerationList,
        ModerationRequest,
        {"input": "I will find you."},
        errors=POSTED,
        takes=CALL,
        call=True,
    ),
    ("POST", "/v1/files"): Operation(
        "Upload a file",
        files.FileObject,
        files.FileForm,
        errors=(400, 401, 403, 413, 429, 500, 503),
        body="multipart/form-data",
    ),
    ("GET", "/v1/files"): Operation("List files", files.FileList, query=files.FileQuery, errors=(400, 404, *READ)),
    ("GET", "/v1/files/{file_id}"): Operation("Look a file up", files.FileObject, errors=(404, *READ)),
    ("GET", "/v1/files/{file_id}/content"): Operation(
        "A file's bytes", errors=(404, *READ), text="application/octet-stream"
    ),
    ("DELETE", "/v1/files/{file_id}"): Operation("Delete a file", files.FileDeleted, errors=(404, 409, *READ)),
    ("POST", "/v1/batches"): Operation(
        "Begin a batch",
        files.BatchObject,
        BatchRequest,
        {"input_file_id": "file-abc", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        errors=PLAIN_POSTED,
    ),
    ("GET", "/v1/batches"): Operation(
        "List batches", files.BatchList, query=files.BatchQuery, errors=(400, 404, *READ)
    ),
    ("GET", "/v1/batches/{batch_id}"): Operation("Look a batch up", files.BatchObject, errors=(404, *READ)),
    ("POST", "/v1/batches/{batch_id}/cancel"): Operation("Cancel a batch", files.BatchObject, errors=(404, 409, *READ)),
    ("GET", "/v1/models"): Operation(
        "List models", messages.Models, query=messages.PageQuery, errors=(400, *READ, 529), fault=messages.AnyFault
    ),
    ("GET", "/v1/models/{name}"): Operation(
        "Look a model up", messages.AModel, errors=(404, *READ, 529), fault=messages.AnyFault
    ),
    ("POST", "/tokenize"): Operation(
        "Text or chat to tokens", judged.Tokenized, TokenizeRequest, {"prompt": "Hello!"}, errors=PLAIN_POSTED
    ),
    ("POST", "/detokenize"): Operation(
        "Tokens to text", judged.Detokenized, DetokenizeRequest, {"tokens": [1, 2]}, errors=PLAIN_POSTED
    ),
    ("GET", "/v1/penstock/calls/{call}"): Operation(
        "A call as billed, and what each stage did to it", judged.Facts, errors=(404, *READ)
    ),
    ("GET", "/v1/penstock/graph"): Operation(
        "What stands in the graph, and whether it answers", judged.Facts, errors=READ
    ),
    ("GET", "/v1/penstock/usage"): Operation("What was spent", judged.Facts, query=Span, errors=(400, *READ)),
    ("GET", "/healthz"): Operation("Is the gateway alive?", open=True, errors=(500,)),
    ("GET", "/readyz"): Operation(
        "Would a call find all it needs?", judged.Readiness, errors=(500,), also={503: judged.Readiness}, open=True
    ),
    ("GET", "/metrics"): Operation("Metrics in Prometheus' text format", open=True, errors=(500,)),
}
