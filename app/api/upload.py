"""A multipart upload, streamed: fields in memory, the file straight into the file storage.  files -> [upload] -> blobs.

Starlette's own form reader would write the file to a temporary folder first, without a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.api.body import expanded
from app.batches.blobs import Sink
from app.core import errors

SLACK = 65_536
"""Bytes of a request that are no file: headers of parts, other fields."""
_LONGEST_FIELD = 4_096
_MOST_FIELDS = 32


@dataclass(slots=True)
class FormPart:
    """One part of the form. filename: None where it is no file."""

    name: str = ""
    filename: str | None = None
    value: bytes = b""


@dataclass(slots=True)
class Upload:
    """What was sent beside the file's bytes. filename: None until there was a file."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


class Form:
    """Reads the parts: `feed` the body as it comes. ended: whether its last boundary has come."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise errors.bad_request("Send the file as multipart/form-data, with the fields 'file' and 'purpose'.")
        self._ready: list[tuple[FormPart, bytes | None]] = []
        self.ended = False
        self._part = FormPart()
        self._header = [b"", b""]
        calls = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._head(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._head(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self._ready.append((self._part, data[start:end])),
            "on_part_end": lambda: self._ready.append((self._part, None)),
            "on_end": self._end,
        }
        self._parser = MultipartParser(options[b"boundary"], calls)  # type: ignore[arg-type]

    def feed(self, data: bytes) -> Iterator[tuple[FormPart, bytes | None]]:
        """Parts, each with bytes of it, or None at its end. Raises ApiError (400)."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise errors.bad_request("The multipart body is not well-formed.") from None
        ready, self._ready = self._ready, []
        yield from ready

    def _end(self) -> None:
        self.ended = True

    def _begin(self) -> None:
        self._part, self._header = FormPart(), [b"", b""]

    def _head(self, which: int, data: bytes) -> None:
        self._header[which] += data
        if len(self._header[which]) > _LONGEST_FIELD:
            raise errors.bad_request("A header of the multipart body is too long.")

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._part.name = _text(options.get(b"name", b""))
            self._part.filename = _text(options[b"filename"]) if b"filename" in options else None


async def receive(request: Request, sink: Sink, limit: int) -> Upload:
    """Stream the part `file` into `sink`. limit: its most bytes. Raises ApiError (400, 413, 415)."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit + SLACK:
        raise errors.file_too_large(limit)
    form, upload = Form(request.headers.get("content-type", "")), Upload()
    async for data in expanded(request):
        for part, piece in form.feed(data):
            if part.name == "file" and part.filename is not None:
                await _file(upload, part, piece, sink)
                if sink.size > limit:
                    raise errors.file_too_large(limit)
            else:
                _field(upload, part, piece)
    if not form.ended:
        raise errors.bad_request("The multipart body breaks off.")
    if upload.filename is None:
        raise errors.bad_request("Missing required parameter: 'file'.", "file", "missing_required_parameter")
    return upload


async def _file(upload: Upload, part: FormPart, piece: bytes | None, sink: Sink) -> None:
    if upload.filename is not None and part.value != b"taken":
        raise errors.bad_request("Send one file.", "file", "invalid_value")
    part.value = b"taken"
    upload.filename = part.filename or "file"
    if piece:
        await sink.put(piece)


def _field(upload: Upload, part: FormPart, piece: bytes | None) -> None:
    if piece is not None:
        part.value += piece
        if len(part.value) > _LONGEST_FIELD:
            raise errors.bad_request(f"The field '{part.name[:100]}' is too long.", part.name[:100], "invalid_value")
        return
    upload.fields[part.name] = _text(part.value)
    if len(upload.fields) > _MOST_FIELDS:
        raise errors.bad_request("The form has too many fields.")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")[:1024]
