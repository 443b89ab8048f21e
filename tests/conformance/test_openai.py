"""The official openai client against the real graph: every endpoint, streamed and whole, and its error classes."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.graph import Graph

HI: Any = [{"role": "user", "content": "Say hello."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def client(graph: Graph) -> openai.OpenAI:
    return graph.client()


def test_chat_whole_has_every_field_clients_read(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="small", messages=HI, max_tokens=8)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 8
    assert answer.id.startswith("chatcmpl-")


def test_chat_streamed_ends_with_usage_when_asked(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="small", messages=HI, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_that_must_be_called_is_called_with_arguments_of_its_schema(client: openai.OpenAI, choice: Any) -> None:
    answer = client.chat.completions.create(
        model="small", messages=HI, tools=[WEATHER], tool_choice=choice, max_tokens=64, temperature=0
    )
    (call,) = (answer.choices[0].message.tool_calls or [])[:1]
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Rome", "Oslo"}


def test_streamed_tool_arguments_join_to_the_same_json(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="small", messages=HI, tools=[WEATHER], tool_choice="required", max_tokens=64, temperature=0
    ) as stream:
        final = stream.get_final_completion()
    (call,) = (final.choices[0].message.tool_calls or [])[:1]
    assert json.loads(call.function.arguments)["city"] in {"Rome", "Oslo"}


def test_a_json_schema_is_kept_to(client: openai.OpenAI) -> None:
    schema: Any = {"name": "pick", "strict": True, "schema": WEATHER["function"]["parameters"]}
    answer = client.chat.completions.create(
        model="small", messages=HI, response_format={"type": "json_schema", "json_schema": schema}, max_tokens=48
    )
    assert json.loads(answer.choices[0].message.content or "")["city"] in {"Rome", "Oslo"}


def test_a_long_prompt_again_is_read_from_the_prefix_cache_and_billed_cheaper(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "Count the rivers. " * 60 + "How many?"}]
    ask = {"model": "small", "messages": long, "max_tokens": 4, "extra_headers": {"Cache-Control": "no-cache"}}
    first, again = (client.chat.completions.with_raw_response.create(**ask) for _ in range(2))
    usage = again.parse().usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens or 0) > 100
    assert float(again.headers["x-penstock-cost"]) < float(first.headers["x-penstock-cost"])


def test_a_completion_reads_the_text_as_it_stands_and_streams_what_it_says_whole(client: openai.OpenAI) -> None:
    asked: Any = {"model": "small", "prompt": "The capital of France is", "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**asked)
    pieces = list(client.completions.create(**asked, stream=True, extra_headers={"Cache-Control": "no-cache"}))
    assert whole.usage is not None
    assert 5 == whole.usage.prompt_tokens  # a chat's template would add its own
    assert whole.choices[0].text == "".join(piece.choices[0].text for piece in pieces if piece.choices) != ""


def test_embeddings_come_as_base64_by_themselves_and_mean_something(client: openai.OpenAI) -> None:
    words = ["a cat on a mat", "a kitten on a rug", "quarterly tax return"]
    answer = client.embeddings.create(model="embedding", input=words)
    cat, kitten, tax = (np.array(one.embedding) for one in answer.data)
    assert cat.shape == (384,)
    assert cat @ kitten > cat @ tax + 0.2
    raw = client.embeddings.create(model="embedding", input=words[0], encoding_format="base64").data[0].embedding
    assert np.allclose(np.frombuffer(base64.b64decode(raw), "<f4"), cat, atol=1e-3)  # type: ignore[arg-type]


def test_moderations_flag_what_detoxify_flags_and_name_all_categories(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=["You are a worthless idiot, shut up!", "How do I kill a process?"])
    rude, technical = answer.results
    assert rude.flagged
    assert rude.categories.harassment
    assert not technical.flagged
    assert len(rude.category_scores.model_dump()) >= 13


def test_responses_stream_in_order_and_remember_the_conversation(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="small", input="Say hello.", max_output_tokens=8, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert "response.output_text.delta" in kinds
    assert kinds[-1] in {"response.completed", "response.incomplete"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first = events[-1].response  # type: ignore[union-attr]
    second = client.responses.create(
        model="small", input="And again.", previous_response_id=first.id, max_output_tokens=4
    )
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(first.id).id == first.id


def test_files_and_a_batch_at_half_price(client: openai.OpenAI) -> None:
    line = {"method": "POST", "url": "/v1/chat/completions"}
    body = {"model": "small", "messages": HI, "max_tokens": 4, "temperature": 0}
    lines = [{**line, "custom_id": f"n-{number}", "body": body} for number in range(3)]
    upload = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file = client.files.create(file=("in.jsonl", upload), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "tests"}
    )
    deadline = time.monotonic() + 90
    while batch.status not in {"completed", "failed", "expired"} and time.monotonic() < deadline:
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (3, 3)
    out = [json.loads(one) for one in client.files.content(batch.output_file_id or "").text.splitlines()]
    assert [one["custom_id"] for one in out] == ["n-0", "n-1", "n-2"]
    assert {one["response"]["status_code"] for one in out} == {200}
    assert client.files.delete(file.id).deleted


def test_models_list_what_may_be_asked_for(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"auto", "small", "medium", "large", "embedding", "smollm2-135m-instruct"} <= names
    assert client.models.retrieve("small").id == "small"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"model": "gpt-unknown"}, openai.NotFoundError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"messages": []}, openai.BadRequestError),
        ({"messages": [{"role": "user", "content": "long " * 4000}]}, openai.BadRequestError),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            openai.BadRequestError,
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_arrive_as_the_clients_own_classes(
    client: openai.OpenAI, asked: dict[str, Any], kind: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind) as raised:
        client.chat.completions.create(**{"model": "small", "messages": HI, "stream": stream, **asked})
    assert set(raised.value.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]
    assert raised.value.request_id


def test_a_wrong_key_is_an_authentication_error(graph: Graph) -> None:
    stranger = openai.OpenAI(api_key="sk-wrong", base_url=f"{graph.url}/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_the_same_idempotency_key_gets_the_same_answer_and_one_bill(client: openai.OpenAI) -> None:
    headers = {"Idempotency-Key": "conformance-1", "Cache-Control": "no-cache"}
    one, two = (
        client.chat.completions.with_raw_response.create(
            model="small", messages=HI, max_tokens=8, extra_headers=headers
        )
        for _ in range(2)
    )
    assert one.text == two.text
    assert two.headers["x-penstock-idempotent-replay"] == "true"
    assert one.headers["x-penstock-call"] == two.headers["x-penstock-call"]


def test_the_openapi_document_names_every_endpoint(graph: Graph) -> None:
    paths = httpx.get(f"{graph.url}/openapi.json", timeout=30).json()["paths"]
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/batches", "/v1/files"} <= set(paths)
