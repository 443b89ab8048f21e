"""Read a request's body, never more than the limit, also where it came compressed.  routes -> [body] -> validation."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Protocol

import zstandard
from starlette.requests import Request

from app.core import errors

PIECE = 65_536
"""Bytes that are expanded at once: so little more than the limit is ever held."""
ZSTD_PIECE = 256
"""Bytes of zstd that are read at once."""
MAX_ENCODINGS = 2
"""Encodings around each other."""
MAX_WINDOW = 2**23
"""Bytes that a zstd frame may look back: RFC 9659's bound for HTTP."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, expanded, at most `limit` bytes. Raises ApiError (400, 413, 415) as soon as it is known."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise errors.body_too_large(limit)
    parts, size = [], 0
    async for part in expanded(request):
        size += len(part)
        if size > limit:
            raise errors.body_too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def expanded(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, in small pieces where it is compressed. Raises ApiError (400, 415)."""
    said = ",".join(request.headers.getlist("content-encoding")).lower()
    names = [name for one in said.split(",") if (name := one.strip()) not in ("", "identity")]
    if not names:
        async for part in request.stream():
            yield part
        return
    if len(names) > MAX_ENCODINGS or any(name not in EXPANDERS for name in names):
        raise errors.unknown_encoding(said[:100], EXPANDERS)
    chain = [EXPANDERS[name]() for name in reversed(names)]
    async for part in request.stream():
        for piece in _through(chain, part):
            yield piece
    if not all(one.ended for one in chain):
        raise errors.broken_encoding(said[:100])


class Expander(Protocol):
    """One encoding. ended: whether what came is whole."""

    @property
    def ended(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of what the data expands to. Raises ApiError (400)."""
        ...


def _through(chain: list[Expander], data: bytes) -> Iterator[bytes]:
    """The data through each expander in turn."""
    if not chain:
        yield data
        return
    for piece in chain[0].feed(data):
        yield from _through(chain[1:], piece)


class _Zlib:
    """gzip, and what HTTP calls deflate: a zlib stream, or, by many, one without its head."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bits = zlib.MAX_WBITS | (16 if name == "gzip" else 0)
        self._stream = zlib.decompressobj(self._bits)
        self._begun = False

    @property
    def ended(self) -> bool:
        return self._stream.eof or not self._begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        """A gzip file may be several, one behind the other."""
        left = data
        while left:
            if self._stream.eof:
                self._stream = zlib.decompressobj(self._bits)
            try:
                piece = self._expand(left)
            except zlib.error:
                raise errors.broken_encoding(self._name) from None
            left = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    def _expand(self, data: bytes) -> bytes:
        begun, self._begun = self._begun, True
        try:
            return self._stream.decompress(data, PIECE)
        except zlib.error:
            if begun or self._name == "gzip":
                raise
            self._bits = -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(self._bits)
            return self._stream.decompress(data, PIECE)


class _Zstd:
    """zstd: frames, one behind the other."""

    def __init__(self) -> None:
        self._frame = _frame()
        self._begun = False

    @property
    def ended(self) -> bool:
        return self._frame.eof or not self._begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        """A few bytes at a time: the library expands all that it is given at once, up to 32,000 times as much."""
        for at in range(0, len(data), ZSTD_PIECE):
            left = data[at : at + ZSTD_PIECE]
            while left:
                self._begun = True
                if self._frame.eof:
                    self._frame = _frame()
                try:
                    piece = self._frame.decompress(left)
                except zstandard.ZstdError:
                    raise errors.broken_encoding("zstd") from None
                left = self._frame.unused_data if self._frame.eof else b""
                if piece:
                    yield piece


def _frame() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()


EXPANDERS: Mapping[str, Callable[[], Expander]] = {
    "gzip": lambda: _Zlib("gzip"),
    "x-gzip": lambda: _Zlib("gzip"),
    "deflate": lambda: _Zlib("deflate"),
    "zstd": _Zstd,
}
