"""`/v1/files` through the official openai client, and by hand where a client would never send it."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.upload import Form
from app.core.errors import ApiError
from tests.batch_kit import Batchery
from tests.kit import KEY, WHO

AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Batchery]:
    with Batchery(tmp_path, works=False).serving() as made:
        yield made


def blobs(shop: Batchery) -> list[Path]:
    return [path for path in (shop.folder / "files").rglob("*") if path.is_file()]


def test_a_file_comes_back_byte_for_byte(shop: Batchery) -> None:
    client = shop.client()
    data = bytes(range(256)) * 20_000
    file = client.files.create(file=("my file.jsonl", data), purpose="batch")
    assert (len(data), "my file.jsonl", "batch", "file", "processed", 30 * 86_400) == (
        file.bytes,
        file.filename,
        file.purpose,
        file.object,
        file.status,
        (file.expires_at or 0) - file.created_at,
    )
    assert file == client.files.retrieve(file.id)
    assert data == client.files.content(file.id).content
    deleted = client.files.delete(file.id)
    assert (file.id, "file", True) == (deleted.id, deleted.object, deleted.deleted)
    assert [] == blobs(shop)
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(file.id)


def test_files_are_listed_page_by_page_in_the_order_and_of_the_purpose_asked_for(shop: Batchery) -> None:
    client = shop.client()
    made = [
        client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data" if n == 2 else "batch").id for n in range(5)
    ]
    assert made[::-1] == [file.id for file in client.files.list(limit=2)]
    assert made == [file.id for file in client.files.list(order="asc")]
    assert [made[2]] == [file.id for file in client.files.list(purpose="user_data")]
    page = client.files.list(after=made[1], limit=1)
    assert ([made[0]], False) == ([file.id for file in page.data], page.has_more)


def test_a_file_expires_when_it_was_asked_to(shop: Batchery) -> None:
    client = shop.client()
    lives = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a", b"x"), purpose="batch", expires_after=lives)  # type: ignore[arg-type]
    assert 3600 == (file.expires_at or 0) - file.created_at
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(file=("a", b"x"), purpose="batch", expires_after={**lives, "seconds": 1})  # type: ignore[arg-type]


def test_another_tenant_and_another_project_see_no_file(shop: Batchery) -> None:
    shop.kit.authenticator.keys |= {
        "sk-other": replace(WHO, tenant="globex"),
        "sk-project": replace(WHO, project="web"),
        "sk-mate": replace(WHO, key_id="key_2"),
    }
    file = shop.client().files.create(file=("a", b"secret"), purpose="batch")
    for key in ("sk-other", "sk-project"):
        stranger = shop.client(key)
        assert [] == list(stranger.files.list())
        for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
            with pytest.raises(openai.NotFoundError):
                ask(file.id)
    assert b"secret" == shop.client("sk-mate").files.content(file.id).content


def test_a_key_needs_the_scope_files(shop: Batchery) -> None:
    shop.kit.authenticator.keys["sk-chat"] = replace(WHO, scopes=frozenset({"chat"}))
    with pytest.raises(openai.PermissionDeniedError):
        shop.client("sk-chat").files.create(file=("a", b"x"), purpose="batch")
    assert 401 == httpx.post(f"{shop.url}/v1/files", files={"file": b"x"}).status_code
    assert [] == blobs(shop)


def test_a_file_over_the_limit_is_refused_said_or_unsaid_and_leaves_nothing(tmp_path: Path) -> None:
    with Batchery(tmp_path, works=False, policy={"batches": {"max_file_bytes": 100_000}}).serving() as shop:
        client = shop.client()
        assert 100_000 == client.files.create(file=("a", b"x" * 100_000), purpose="batch").bytes
        with pytest.raises(openai.APIStatusError) as told:
            client.files.create(file=("a", b"x" * 100_001), purpose="batch")
        head, tail = body_around("a", "batch")

        def unsaid() -> Iterator[bytes]:  # without a content-length
            yield head
            for _ in range(40):
                yield b"x" * 10_000
            yield tail

        kind = {"content-type": "multipart/form-data; boundary=b"}
        answer = httpx.post(f"{shop.url}/v1/files", content=unsaid(), headers=AUTH | kind)
        left = blobs(shop)
    assert (413, "file_too_large") == (told.value.status_code, told.value.code)
    assert (413, "file_too_large") == (answer.status_code, answer.json()["error"]["code"])
    assert 1 == len(left)


def body_around(filename: str, purpose: str) -> tuple[bytes, bytes]:
    head = (
        f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    )
    return head.encode(), b"\r\n--b--\r\n"


def test_a_large_file_is_never_held_in_memory(shop: Batchery) -> None:
    size = 60_000_000
    tracemalloc.start()
    try:
        file = shop.client().files.create(file=("big", Zeros(size)), purpose="batch")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with shop.client().files.with_streaming_response.content(file.id) as answer:
            got = sum(len(piece) for piece in answer.iter_bytes(100_000))
        _, reading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == file.bytes == got
    assert max(peak, reading) < 30_000_000  # client and server share this process


class Zeros(io.RawIOBase):
    """A file that is not in memory either."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = min(self._size - self._at, 65_536 if size < 0 else size)
        self._at += size
        return bytes(size)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"purpose": "batch"}, "file"),
        ({}, "purpose"),
        ({"purpose": "nonsense"}, "purpose"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "expires_after"),
        ({"purpose": "x" * 5000}, "purpose"),
    ],
)
def test_a_wrong_form_is_refused_by_name_and_leaves_nothing(shop: Batchery, data: dict[str, str], param: str) -> None:
    files = None if param == "file" else {"file": ("a", b"x")}
    sent = {"data": data, "files": files or {"other": (None, b"x")}}
    answer = httpx.post(f"{shop.url}/v1/files", headers=AUTH, **sent)  # type: ignore[arg-type]
    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])
    assert [] == blobs(shop)


def test_two_files_and_bodies_that_are_no_form_are_refused(shop: Batchery) -> None:
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    url = f"{shop.url}/v1/files"
    form = {"content-type": "multipart/form-data; boundary=b"}
    answers = [
        httpx.post(url, headers=AUTH, data={"purpose": "batch"}, files=two),
        httpx.post(url, headers=AUTH, json={"file": "x"}),
        httpx.post(url, headers=AUTH | form, content=b"no boundary here"),
        httpx.post(url, headers=AUTH | {"content-type": "multipart/form-data"}, content=b"x"),
        httpx.post(url, headers=AUTH | form, content=body_around("a", "batch")[0] + b"half"),  # breaks off
    ]
    assert {400} == {answer.status_code for answer in answers}
    assert [] == blobs(shop)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=10001", "order=up"])
def test_a_wrong_query_is_refused(shop: Batchery, query: str) -> None:
    assert 400 == httpx.get(f"{shop.url}/v1/files?{query}", headers=AUTH).status_code


def test_a_file_whose_bytes_are_gone_is_not_found(shop: Batchery) -> None:
    client = shop.client()
    file = client.files.create(file=("a", b"x"), purpose="batch")
    blobs(shop)[0].unlink()
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 400), max_size=6))
def test_a_form_is_read_alike_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    boundary = b"a-boundary-that-no-data-holds"
    head, tail = body_around("ü.bin", "batch")
    whole = (head + data + tail).replace(b"--b", b"--" + boundary)
    form = Form(f"multipart/form-data; boundary={boundary.decode()}")
    found, last = {"purpose": b"", "file": b""}, 0
    for cut in [*sorted(cut for cut in cuts if cut < len(whole)), len(whole)]:
        for part, piece in form.feed(whole[last:cut]):
            found[part.name] += piece or b""
        last = cut
    if b"--b" not in data:
        assert {"purpose": b"batch", "file": data} == found


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(data: bytes) -> None:
    form = Form("multipart/form-data; boundary=b")
    with contextlib.suppress(ApiError):
        for part, _ in form.feed(b"--b\r\n" + data):
            assert isinstance(part.name, str)


def test_a_tenants_files_together_are_no_larger_than_its_quota(tmp_path: Path) -> None:
    shop = Batchery(tmp_path, policy={"files": {"max_bytes": 2_000}}, works=False)
    shop.kit.authenticator.keys["sk-north"] = replace(WHO, project="north", key_id="key_3")
    with shop.serving():
        client, north = shop.client(), openai.OpenAI(api_key="sk-north", base_url=f"{shop.url}/v1", max_retries=0)
        first = client.files.create(file=("a.jsonl", b"x" * 1_500), purpose="batch")
        for size in (501, 5_000):
            with pytest.raises(openai.APIStatusError) as refused:
                north.files.create(file=("b.jsonl", b"x" * size), purpose="batch")
            assert (413, "files_quota_exceeded") == (refused.value.status_code, refused.value.code)
        north.files.create(file=("b.jsonl", b"x" * 500), purpose="batch")
        assert 2 == len(blobs(shop))
        with pytest.raises(openai.APIStatusError, match="2,000 bytes"):
            client.files.create(file=("c.jsonl", b"x"), purpose="batch")
        client.files.delete(first.id)
        assert 1 == client.files.create(file=("c.jsonl", b"x"), purpose="batch").bytes


def test_files_live_for_ever_where_the_policy_says_so(tmp_path: Path) -> None:
    with Batchery(tmp_path, policy={"files": {"expires_days": None}}, works=False).serving() as shop:
        assert shop.client().files.create(file=("a.jsonl", b"x"), purpose="batch").expires_at is None
