"""How large a number and how long a text of a request may be.  [bounds] -> request models.

Every number, text, list and object of a request model has an upper bound, so that none reaches a 64-bit column, a
tokenizer or an engine unread; a test walks all models and finds the one without. What an API documents stands at the
field; what is shared stands here.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

MAX_TOKENS = 10_000_000
"""Tokens that an answer may be asked to have: no model's context is longer, and times 128 choices and any price it is
money that a 64-bit integer of nanos holds.
"""
MAX_TEXT = 50_000_000
"""Characters of what somebody wrote: above any `max_body_bytes`, which is what bounds it."""
MAX_MESSAGES = 50_000
"""Messages, or items, of one conversation."""
MAX_PARTS = 10_000
"""Content parts of one message."""
MAX_TOOLS = 1_024
"""Tools of one request, where an API documents no number: an agent with some servers of tools has hundreds."""
MAX_CALLS = 1_000
"""Tool calls of one message."""
MAX_IDENTIFIER = 256
"""Characters of an id or a name that a caller gives: OpenAI documents 64, other servers send longer ones."""
MAX_END_USER = 512
"""Characters of an end user's id and of a cache key."""
MAX_STOP = 1_000
"""Characters of one stop sequence."""
MAX_BIASES = 50_000
"""Tokens that `logit_bias` may name."""

Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
"""How many tokens to generate."""
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""Engines hold it in 64 bits."""
TopK = Annotated[int, Field(ge=1, le=1_000_000)]
"""No vocabulary is larger."""
Dimensions = Annotated[int, Field(ge=1, le=65_536)]
Prose = Annotated[str, Field(max_length=MAX_TEXT)]
"""What somebody wrote."""
Identifier = Annotated[str, Field(max_length=MAX_IDENTIFIER)]
Model = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
EndUser = Annotated[str, Field(max_length=MAX_END_USER)]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP)]
Biases = Annotated[
    dict[Annotated[str, Field(max_length=16)], Annotated[float, Field(ge=-100, le=100)]], Field(max_length=MAX_BIASES)
]
"""`logit_bias`: token id -> bias."""
Part = Annotated[dict[str, Any], Field(max_length=64)]
"""A content part of a message, whose text is looked at by its own check."""
