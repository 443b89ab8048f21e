"""Numbers and names that only the words around them explain, and that pass no check: people mistype and mask.

engine -> [WORDED]. Every repetition is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.privacy.presidio.patterns import Rule, rule

_CARD = (
    r"cards?\b|visa\b|master ?card|amex|american express|maestro|discover|diners|kredit|debit|credit|karte|carte\b|"
    r"tarjeta|"
    r"cart\u00e3o|carta di|cvv|cvc|exp(?:iry|ires|iration)?\b|card ?no|pan\b"
)
_SSN = r"ssn|social sec|social insurance|s\.s\.n|socials?\b|tax ?payer id|itin"
_SPREAD = r"(?<![\w.])\d(?:[ .\-_/]{0,2}\d){%d,%d}(?![\w])"
_PASSPORT = (
    r"passports?|passeport|reisepass|pasaporte|passaporto|paszport|paspoort|"
    r"\u043f\u0430\u0441\u043f\u043e\u0440\u0442"
)
_ID = r"(?=[A-Z0-9-]{0,12}\d)[A-Z0-9](?:[A-Z0-9-]{4,14})[A-Z0-9]"
_NAME = r"[^\W\d_][^\W\d_'\u2019.-]{0,24}(?:[ '\u2019-][^\W\d_][^\W\d_'\u2019.-]{0,24}){0,3}\.?"
_PERSONAL = (
    r"(?:first|last|full|given|family|sur|middle|maiden|birth|display|customer|patient|client|employee|contact|user|"
    r"guest|passenger|recipient|sender|owner|author|account|billing|shipping|card)[_ -]?names?|surname|forename|"
    r"first|last|fn|ln|fname|lname|patient|employee|recipient|sender|assignee|passenger|guest|signatory|beneficiary|"
    r"cardholder|"
    r"card[_ -]?holder|account[_ -]?holder|next[_ -]?of[_ -]?kin|emergency[_ -]?contact|nombre|apellidos?|nachname|"
    r"vorname|nom|pr\u00e9nom|cognome"
)
_AT = r"[ ]?(?:\((?:at|@|\u00e4t)\)|\[(?:at|@|\u00e4t)\]|\{(?:at|@)\}|<at>|_at_|-at-|[ ]at[ ]|[ ]@[ ]?|@[ ])[ ]?"
_DOT = (
    r"(?:\.|[ ]?(?:\((?:dot|punkt|\.)\)|\[(?:dot|punkt|\.)\]|\{dot\}|<dot>|_dot_|[ ](?:dot|punkt|point|"
    r"punto)[ ])[ ]?)"
)
_CAPITALS = r"[A-Z\u00c0-\u00de][\w'\u2019-]{1,24}(?: [A-Z\u00c0-\u00de][\w'\u2019-]{0,24}\.?){0,2}"
_RELATIONS = (
    r"landlord|landlady|boss|manager|colleague|co-?worker|neighbou?r|friend|wife|husband|partner|girlfriend|boyfriend|"
    r"fianc\u00e9e?|son|daughter|mother|mom|mum|father|dad|brother|sister|uncle|aunt|cousin|nephew|niece|grand\w{3,8}|"
    r"doctor|dentist|therapist|lawyer|teacher|tutor|student|client|customer|patient|tenant|roommate|flatmate|ex|"
    r"mentor|supervisor|assistant|nanny|accountant|employee|name is"
)
_HIDDEN_AT = r"[ ]?(?:\((?:at|@)\)|\[(?:at|@)\]|\{(?:at|@)\}|<at>|_at_|-at-|[ ]@[ ])[ ]?"

WORDED: Sequence[Rule] = (
    rule("CREDIT_CARD", _SPREAD % (11, 18), 0.8, _CARD, case=False),
    rule("US_SSN", r"(?<![\w.-])\d(?:[ .\-_/]{0,2}\d){8}(?![\w-]|\.\d)", 0.8, _SSN, case=False),
    rule("US_SSN", r"\blast (?:4|four)(?: digits)? of (?:my|his|her|their|the) (?:social|ssn|card|"
         r"account)[^\d\n]{0,24}(\d{4})\b", 0.75, case=False, group=1),
    rule("US_SSN", r"(?<![\w])(?:[xX*]{3}[- ][xX*]{2}[- ]\d{4})(?!\w)", 0.7, _SSN, case=False),
    rule("US_PASSPORT", rf"\b(?:{_PASSPORT})\b(?:[ ](?:no|number|nr|n\u00b0|num|id|is|was|:|"
         rf"#)\.?){{0,3}}[ :#.]{{0,3}}({_ID}|[A-Z]{{6,9}}\d?[A-Z]?)\b", 0.85, case=False, group=1),
    rule("US_PASSPORT", rf"\b(?=[A-Z]{{0,3}}\d){_ID}\b", 0.65, rf"(?:{_PASSPORT})", group=0),
    rule("IBAN_CODE", r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,4})?\b",
         0.8, r"iban|konto|account|bank", case=False),
    rule("US_BANK_NUMBER", r"\b\d{6,17}\b", 0.65, r"(?:sort code|iban|bic|swift|kontonummer|blz|bsb|bank account|"
         r"account (?:no|num|#|is|\d)|acct|routing)", case=False),
    rule("US_BANK_NUMBER", r"\bsort code:?[ ]{0,2}(\d{2}[- ]?\d{2}[- ]?\d{2,3})\b", 0.8, case=False, group=1),
    rule("MEDICAL_LICENSE", r"\b(?:mrn|medical record|patient (?:id|no|number)|chart (?:no|number)|health (?:id|"
         r"card)|insurance (?:id|no|number)|policy (?:no|number)|member id)\b[\"']?[ :#.\"']{0,4}(?:no\.? |number |"
         r"is |MRN[ -]?)?([A-Z]{0,4}[ -]?\d[A-Z0-9-]{3,14})\b", 0.75, case=False, group=1),
    rule("MEDICAL_LICENSE", r"\bMRN[ :#]{0,3}\d{5,10}\b", 0.8),
    rule("US_DRIVER_LICENSE", r"\b(?:vin|chassis|fahrgestellnummer)\b[ :#.]{0,3}(?:no\.? |number |"
         r"is )?([A-Z0-9]{17})\b", 0.75, case=False, group=1),
    rule("IN_PAN", r"\b[A-Z]{5}\d{4}[A-Z]\b", 0.75, r"\bpan\b|permanent account|tax", case=True),
    # mail addresses that are written for people alone
    rule("EMAIL_ADDRESS", rf"(?<![\w.+-])[\w.+-]{{1,64}}{_HIDDEN_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{2,63}}){{1,4}}(?!\w)",
         0.85, case=False),
    rule("EMAIL_ADDRESS", rf"(?<![\w.+-])[\w.+-]{{1,64}}{_AT}[\w-]{{1,63}}(?:[ ](?:dot|punkt|point|"
         rf"punto)[ ][\w-]{{2,63}}){{1,4}}(?!\w)", 0.8, case=False),
    rule("EMAIL_ADDRESS", rf"(?<![\w.+-])[\w+-]{{1,32}}(?:[ ](?:dot|punkt)[ ][\w-]{{1,32}}){{0,3}}(?:@|"
         rf"{_AT})[\w-]{{1,63}}(?:[ ](?:dot|punkt)[ ][\w-]{{2,63}}){{1,4}}(?!\w)", 0.8, case=False),
    rule("EMAIL_ADDRESS", r"(?<![\w.+-])[\w.+-]{1,64}[ ]at[ ][\w-]{1,63}(?:[ ]?[(\[{](?:dot|"
         r"punkt)[)\]}][ ]?[\w-]{2,63}){1,4}(?!\w)", 0.8, case=False),
    # names where a field says so
    rule("PERSON", rf"[\"'](?:{_PERSONAL})[\"'][ \t]{{0,3}}:[ \t]{{0,3}}[\"']({_NAME})[\"']",
         0.85, case=False, group=1),
    rule("PERSON", rf"[\"']name[\"'][ \t]{{0,3}}:[ \t]{{0,3}}[\"']({_NAME})[\"']", 0.8, r"e-?mail|phone|birth|"
         r"address|patient|age\b|dob|customer|salary|mobile", case=False, group=1),
    rule("PERSON", rf"(?m)^[ \t]{{0,8}}(?:{_PERSONAL})[ \t]{{0,3}}[:=][ \t]{{0,3}}({_NAME})[ \t]{{0,3}}$",
         0.75, case=False, group=1),
    rule("PERSON", rf"<(?:{_PERSONAL}|name)>({_NAME})</", 0.75, case=False, group=1),
    rule("PERSON", r"\b(?:surname|given[ _]?name|first[ _]?name|last[ _]?name|family[ _]?name|forename|"
         r"maiden name)\b[ ]?(?:is|:|=|,)?[ ]?([A-Z\u00c0-\u00de][\w'\u2019-]{1,24})\b", 0.75, group=1),
    rule("PERSON", r"\b(?i:givenname|familyname|firstname|lastname)=([\w'\u2019%-]{1,32})", 0.75, group=1),
    rule("PERSON", rf"\b(?i:account of|in the name of|registered to|issued to|(?:account|card|policy) ?holder:?|"
         rf"next of kin:?|results? of|signed by|on behalf of|made out to|payable to) ({_CAPITALS})", 0.7, group=1),
    rule("PERSON", rf"\b[Mm]y (?:{_RELATIONS}),? ({_CAPITALS})", 0.75, group=1),
    rule("PERSON", rf"(?m)^(?i:yours(?: \w+)?|sincerely(?: yours)?|(?:(?:kind|best|warm) )?regards|best(?: wishes)?|"
         rf"love|cheers|many thanks|thanks|respectfully|gr\u00fc\u00dfe|cordialement|"
         rf"saludos)[ ,!]{{0,3}}\n?[ ]?({_CAPITALS})\.?[ ]{{0,3}}$", 0.75, group=1),
    # who speaks in a log of a chat
    rule("PERSON", r"(?m)^\[?\d{1,2}:\d\d(?::\d\d)?(?:[ ]?[ap]m)?\]?[ ]{1,3}<([\w.\-]{2,30})>", 0.8, group=1),
    rule("PERSON", r"(?m)^\[[^\]\n]{4,24}\][ ]([^\W\d_][\w '.\-]{1,30}):[ ]", 0.75, group=1),
)  # fmt: skip
