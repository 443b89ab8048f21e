"""Uploaded files and batch results: a folder or an object store, by fsspec.  http, worker -> [blobs] -> fsspec.

Everything streams, on a thread; no file is ever held whole. Raises BlobError, a PortError.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import fsspec

from app.core.ports import PortError

T = TypeVar("T")
PIECE = 1 << 20
"""Bytes read or written at once."""


class BlobError(PortError):
    """The file storage could not do what was asked. The text names what it said."""

    def __init__(self, why: str) -> None:
        super().__init__("files", why)


class MissingBlobError(BlobError):
    """There is no such blob."""


class Blobs:
    """url: a folder, or any that fsspec knows (`s3://bucket/folder`). Nothing is opened until its first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._place: tuple[Any, str] | None = None

    @contextlib.asynccontextmanager
    async def write(self, name: str) -> AsyncIterator[Sink]:
        """A sink for a new blob; one that is left by an exception is gone."""
        file = await _on_thread(lambda: self._create(name))
        sink = Sink(file)
        try:
            yield sink
            await sink.close()
        except BaseException:
            await asyncio.shield(self._abandon(sink, name))
            raise

    async def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from `start`."""
        return await _on_thread(lambda: bytes(self._fs.cat_file(self._path(name), start=start, end=start + size)))

    async def stream(self, name: str) -> AsyncIterator[bytes]:
        """The whole blob, piece by piece."""
        file = await _on_thread(lambda: self._fs.open(self._path(name), "rb"))
        try:
            while piece := await _on_thread(lambda: file.read(PIECE)):
                yield piece
        finally:
            await asyncio.shield(_on_thread(file.close))

    async def delete(self, name: str) -> None:
        """Remove it; nothing where there is none."""
        with contextlib.suppress(MissingBlobError):
            await _on_thread(lambda: self._fs.rm_file(self._path(name)))

    async def _abandon(self, sink: Sink, name: str) -> None:
        with contextlib.suppress(BlobError):
            await sink.close()
        with contextlib.suppress(BlobError):
            await self.delete(name)

    def _create(self, name: str) -> Any:
        path = self._path(name)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        return self._fs.open(path, "wb")

    def _path(self, name: str) -> str:
        return f"{self._opened[1].rstrip('/')}/{name}"

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _opened(self) -> tuple[Any, str]:
        if self._place is None:
            try:
                self._place = fsspec.core.url_to_fs(self._url)
            except (ValueError, ImportError) as error:
                raise BlobError(f"{_shown(self._url)}: {error}. Set `state.files` in the config.") from error
        return self._place


class Sink:
    """Takes a blob's bytes in."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        self._held = 0
        self.size = 0

    async def put(self, data: bytes) -> None:
        """The next bytes; written once there are enough of them."""
        self._waiting.append(data)
        self._held += len(data)
        self.size += len(data)
        if self._held >= PIECE:
            await self._flush()

    async def close(self) -> None:
        """Write the rest."""
        try:
            await self._flush()
        finally:
            await _on_thread(self._file.close)

    async def _flush(self) -> None:
        data, self._waiting, self._held = b"".join(self._waiting), [], 0
        if data:
            await _on_thread(lambda: self._file.write(data))


async def _on_thread(work: Callable[[], T]) -> T:
    def explained() -> T:
        with _explained():
            return work()

    return await asyncio.to_thread(explained)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MissingBlobError("the file is gone from the file storage") from error
    except PortError:
        raise
    except Exception as error:  # every object store's library has errors of its own
        raise BlobError(str(error) or type(error).__name__) from error


def _shown(url: str) -> str:
    """The url without what may be a password."""
    return re.sub(r"//[^/@]*@", "//***@", url)
