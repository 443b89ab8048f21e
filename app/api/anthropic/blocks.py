"""Anthropic's messages and their content blocks, as clients send them.  request -> [blocks] -> history.

A history holds blocks of every kind that Anthropic's models ever said, and of kinds that come later: what nobody here
has heard of is read as Other, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Discriminator, Field, Tag

from app.api.anthropic.names import Names
from app.api.bounds import MAX_IDENTIFIER, MAX_PARTS, Part, Prose
from app.api.openai.wire import Wire

UNTYPED = "a content block needs a `type`"
IMAGE = "[an image that this model cannot see]"
DOCUMENT = "[a document that this model cannot read]"
Id = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]


class TextBlock(Wire):
    """What somebody says."""

    type: Literal["text"]
    text: Prose

    @property
    def told(self) -> str:
        """As text."""
        return self.text


class Compaction(Wire):
    """The summary of what stood before."""

    type: Literal["compaction"]
    content: Prose | None = None

    @property
    def told(self) -> str:
        """As text."""
        return self.content or ""


class Image(Wire):
    """A picture; wherever it comes from, no pool sees it."""

    type: Literal["image"]

    @property
    def told(self) -> str:
        """As text."""
        return IMAGE


class Document(Wire):
    """A document: plain text, content blocks, or bytes that no pool reads."""

    type: Literal["document"]
    source: Part
    title: Prose | None = None
    context: Prose | None = None

    @property
    def readable(self) -> bool:
        """Whether it is text."""
        return bool(list(_source_texts(self.source)))

    @property
    def told(self) -> str:
        """As text: title, context, and what it says."""
        said = list(_source_texts(self.source)) or [DOCUMENT]
        return "\n".join(one for one in (self.title, self.context, *said) if one)


class SearchResult(Wire):
    """Something that the caller's own search found."""

    type: Literal["search_result"]
    source: Prose
    title: Prose
    content: Annotated[list[Part], Field(max_length=MAX_PARTS)]

    @property
    def told(self) -> str:
        """As text: title, source, and what it says."""
        return "\n".join(one for one in (self.title, self.source, *_texts(self.content)) if one)


class ToolReference(Wire):
    """A tool that a search of tools found; it stands among `tools`."""

    type: Literal["tool_reference"]
    tool_name: Prose

    @property
    def told(self) -> str:
        """As text."""
        return f"[the tool `{self.tool_name}`]"


class ToolUse(Wire):
    """A tool call of an earlier answer."""

    type: Literal["tool_use"]
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
    input: Annotated[dict[str, Any], Field(max_length=MAX_PARTS)]

    @property
    def told(self) -> str:
        """As text, where it cannot stand as a call."""
        return f"[a call of the tool `{self.name}`: {orjson.dumps(self.input).decode()}]"

    def call(self, names: Names) -> dict[str, Any]:
        """As chat's API spells it."""
        function = {"name": names.sent(self.name), "arguments": orjson.dumps(self.input).decode()}
        return {"id": self.id, "type": "function", "function": function}


class Other(Wire):
    """A block that no pool can use: thinking, what Anthropic's own machines did, or one of a kind that came later."""

    type: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]

    @property
    def told(self) -> str:
        """Nothing."""
        return ""


def _kind(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if kind in KNOWN else "other" if isinstance(kind, str) else None


def _kind_within(block: Any) -> str | None:
    kind = _kind(block)
    return "other" if kind in ("tool_use", "tool_result") else kind


_UNTYPED: dict[str, Any] = {"custom_error_type": "untyped_block", "custom_error_message": UNTYPED}
Told = (
    Annotated[TextBlock, Tag("text")]
    | Annotated[Image, Tag("image")]
    | Annotated[Document, Tag("document")]
    | Annotated[SearchResult, Tag("search_result")]
    | Annotated[ToolReference, Tag("tool_reference")]
    | Annotated[Compaction, Tag("compaction")]
    | Annotated[Other, Tag("other")]
)
"""Blocks that are text, or can be told as text."""
Within = Annotated[
    list[Annotated[Told, Discriminator(_kind_within, **_UNTYPED)]],
    Field(max_length=MAX_PARTS),
]
Texts = Prose | Within


class ToolResult(Wire):
    """What a tool answered."""

    type: Literal["tool_result"]
    tool_use_id: Id
    content: Texts | None = None
    is_error: bool | None = None

    @property
    def blocks(self) -> Sequence[TextBlock | Image | Document | SearchResult | ToolReference | Compaction | Other]:
        """Its content as blocks."""
        if isinstance(self.content, str):
            return [TextBlock(type="text", text=self.content)]
        return self.content or ()

    @property
    def texts(self) -> list[str]:
        """What the model reads of it, a block each. Chat templates have no word for `is_error`: the text says it."""
        said = [block.told for block in self.blocks if block.told]
        if not self.is_error:
            return said
        return [f"The tool failed: {said[0]}", *said[1:]] if said else ["The tool failed."]

    @property
    def told(self) -> str:
        """As text, where it cannot stand as a result."""
        return "\n".join(["[the result of a tool]", *self.texts])


Block = Annotated[
    Told | Annotated[ToolUse, Tag("tool_use")] | Annotated[ToolResult, Tag("tool_result")],
    Discriminator(_kind, **_UNTYPED),
]
KNOWN = frozenset(
    ["text", "image", "document", "search_result", "tool_reference", "compaction", "tool_use", "tool_result"]
)


class Turn(Wire):
    """One of `messages`."""

    role: Literal["user", "assistant", "system"]
    content: Prose | Annotated[list[Block], Field(max_length=MAX_PARTS)]

    @property
    def blocks(self) -> Sequence[Any]:
        """Its content as blocks."""
        return blocks_of(self.content)


def blocks_of(content: str | Sequence[Any] | None) -> Sequence[Any]:
    """Content as blocks."""
    if isinstance(content, str):
        return [TextBlock(type="text", text=content)]
    return content or ()


def _source_texts(source: dict[str, Any]) -> Iterator[str]:
    """What a document's source says: of the types `text` and `content`."""
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        yield source["data"]
    elif source.get("type") == "content":
        content = source.get("content")
        yield from [content] if isinstance(content, str) else _texts(content)


def _texts(content: Any) -> Iterator[str]:
    """The texts of content blocks that no model has read, and a line for each image."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            yield block["text"]
        elif isinstance(block, dict) and block.get("type") == "image":
            yield IMAGE
