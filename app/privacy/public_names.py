"""Whether the names in a conversation are public knowledge: `How did Marie Curie die?`  scrub -> [public_names].

A name is somebody's unless the whole conversation asks about it as an encyclopaedia would: short, a question or a task
about a subject, without contact data, possessives, roles, letters, records or chats. In doubt it is somebody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.core.events import Message

LONG = 220
"""Characters of a question about the world; a longer text tells of somebody."""
SUBJECTS = frozenset({"PERSON", "TITLE", "LOCATION", "GPE", "ORGANIZATION", "NRP"})
"""What a question about the world may hold. A date, an address or a number makes it somebody's."""
ROLES = frozenset({"system", "user", "assistant"})
"""Of a conversation without tools."""
_ASKS = re.compile(
    r"\s*(?:please |can you |could you |would you )?(?:who|whom|whose|what|when|where|why|how|which|did|does|do|is|was|"
    r"were|are|has|had|in which|in what|for what|at what|to what|name|list|explain|describe|compare|summari[sz]e|"
    r"outline|"
    r"discuss|define|tell me (?:about|who|what|how|why)|give (?:me )?(?:a|an|the|\w+) (?:short |brief )?(?:summary|"
    r"overview|biography|list|example|quotes?|facts?)|write (?:a|an|three|two|five|ten|some) (?:[\w-]+ ){0,3}(?:poem|"
    r"story|"
    r"scene|essay|haiku|limerick|song|biography|quiz|dialogue|paragraph|summary|questions?|joke|sonnet|monologue|"
    r"rap))\b",
    re.IGNORECASE,
)
_SOMEBODYS = re.compile(
    r"\b(?:my|mine|our|ours|me|i|i'm|i've|we|us|your|his|her (?:phone|address|email|account|file|number)|dear|"
    r"sincerely|"
    r"regards|yours|hi|hello|hey|patients?|customers?|clients?|employees?|colleagues?|co-?workers?|boss|manager|"
    r"landlord|"
    r"tenant|neighbou?r|applicants?|candidates?|defendant|plaintiff|claimant|insured|policy ?holder|account|invoice|"
    r"contract|salary|diagnos\w+|prescri\w+|appointment|admitted|discharged|symptoms|allerg\w+|dose|mg|ward|clinic|"
    r"meeting|asked|said|told|wrote|called|texted|emailed|sent|paid|owes?|lives (?:at|in|on)|moved|resume|cv|"
    r"cover letter|"
    r"reference letter|complain\w*|hire[ds]?|fired|desk|shift|team|staff|class(?:room|mates?)?|birthday|wedding|"
    r"married last|phone|e-?mail|address|password|passport|ssn|login|reply|respond|answer (?:him|her|them)|"
    r"today|yesterday|tomorrow|last (?:night|week|month)|right now|contact|reach|where (?:does|do|"
    r"is) [\w .\u2019'-]{1,40} (?:live|now)|next (?:week|month)|@\w+)\b|['\u2019]s (?:phone|address|e-?mail|"
    r"file|account|record|number|salary|results?|password|birthday|house|car|laptop|order|invoice|contract)\b",
    re.IGNORECASE,
)
_RECORD = re.compile(r"[\n{}\[\]<>|;=]|\S:\s|^\s*[-*]\s|[\"']\s*:", re.MULTILINE)


NAMES = frozenset({"PERSON", "TITLE"})
"""Types that stay where the names are public."""


def public(messages: Sequence[Message], named: Iterable[str], types: Iterable[str]) -> bool:
    """Whether the names of a conversation are nobody's secret.

    messages: as the caller sent them. named: the strings with a name in them. types: all that was found.
    """
    if not set(types) <= SUBJECTS or any(message.role not in ROLES for message in messages):
        return False
    said = {message.text for message in messages if message.role != "system"}
    asked = [message.text for message in messages if message.role == "user"]
    if not asked or not set(named) <= said or not _ASKS.match(asked[0]):
        return False
    return all(len(text) <= LONG and not _RECORD.search(text) and not _SOMEBODYS.search(text) for text in asked)
