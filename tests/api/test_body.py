"""Request bodies: compressed, with a byte order mark, in halves of emojis."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kit import KEY, Kit, serving

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hi"}]}).encode()
POSTS = [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/moderations", "/tokenize"]


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def frames(data: bytes) -> bytes:
    return zstandard.compress(data[:9]) + zstandard.compress(data[9:])


def members(data: bytes) -> bytes:
    return gzip.compress(data[:9]) + gzip.compress(data[9:])


ENCODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("gzip", members),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
    ("zstd", frames),
    ("gzip, zstd", lambda data: zstandard.compress(gzip.compress(data))),
    ("identity", bytes),
]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with (
        serving(Kit().gateway(admit={"max_body_bytes": 100_000})) as url,
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
    ):
        yield client


def code(answer: httpx.Response) -> tuple[int, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error.get("code", error["type"])


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
def test_a_compressed_body_is_read(http: httpx.Client, name: str, encode: Callable[[bytes], bytes]) -> None:
    answer = http.post(CHAT, content=encode(BODY), headers={"content-encoding": name})
    assert 200 == answer.status_code, answer.text


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
def test_a_body_over_the_limit_once_expanded_is_413(
    http: httpx.Client, name: str, encode: Callable[[bytes], bytes]
) -> None:
    answer = http.post(CHAT, content=encode(b" " * 50_000_000), headers={"content-encoding": name})
    assert (413, "request_too_large") == code(answer)


@pytest.mark.parametrize(("name", "encode"), ENCODERS[:-1])
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 30), garbage=st.binary(min_size=1, max_size=20))
def test_a_broken_stream_is_a_400_of_ours(
    http: httpx.Client, name: str, encode: Callable[[bytes], bytes], cut: int, garbage: bytes
) -> None:
    whole = encode(BODY)
    for data in (whole[:-cut], garbage, whole[: len(whole) // 2] + garbage):
        answer = http.post(CHAT, content=data, headers={"content-encoding": name})
        assert 400 == answer.status_code, answer.text
        assert code(answer)[1]


@pytest.mark.parametrize("name", ["br", "compress", "gzip, gzip, gzip", "x" * 500])
def test_an_unknown_encoding_is_415_and_says_which_are_known(http: httpx.Client, name: str) -> None:
    answer = http.post(CHAT, content=BODY, headers={"content-encoding": name})
    assert (415, "unsupported_encoding") == code(answer)
    assert "gzip" in answer.json()["error"]["message"]
    assert "zstd" in answer.headers["accept-encoding"]


@pytest.mark.parametrize("path", POSTS)
def test_a_byte_order_mark_is_skipped_and_utf_16_refused_in_those_words(http: httpx.Client, path: str) -> None:
    hi = [{"role": "user", "content": "hi"}]
    fields = {
        "completions": {"prompt": "a"},
        "tokenize": {"prompt": "a"},
        "messages": {"messages": hi, "max_tokens": 9},
    }
    named = {"embeddings": "embedding", "moderations": "moderation"}
    last = path.rpartition("/")[2]
    given = {"messages": hi} if path == CHAT else fields.get(last, {"input": "hi"})
    body = {"model": named.get(last, "small"), **given}
    text = json.dumps(body)
    answer = http.post(path, content=b"\xef\xbb\xbf" + text.encode())
    assert answer.status_code == 200 or "tokenizer" in answer.text, answer.text
    refused = http.post(path, content=text.encode("utf-16"))
    assert 400 == refused.status_code
    assert "UTF-16" in refused.json()["error"]["message"]
