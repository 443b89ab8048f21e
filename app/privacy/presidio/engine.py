"""Build the Presidio engine: a lean spaCy pipeline and the recognizers, put right where they miss.

PresidioScrubber -> [build]. Imports Presidio and spaCy at its top: import this only when one is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import spacy
import tldextract
from presidio_analyzer import (
    AnalyzerEngine,
    EntityRecognizer,
    Pattern,
    PatternRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    UsSsnRecognizer,
)
from spacy.tokenizer import Tokenizer

from app.privacy.presidio.false_positives import believable
from app.privacy.presidio.identifiers import Near, identities
from app.privacy.presidio.ner import Tagger
from app.privacy.presidio.patterns import Rules
from app.privacy.presidio.phones import Phones, is_card
from app.privacy.presidio.secrets import SECRETS
from app.privacy.presidio.speakers import Speakers
from app.privacy.presidio.technical import is_machines, is_version
from app.privacy.presidio.worded import WORDED

REPLACED = (
    "CreditCardRecognizer",
    "EmailRecognizer",
    "IbanRecognizer",
    "IpRecognizer",
    "PhoneRecognizer",
    "UsSsnRecognizer",
    "UsLicenseRecognizer",
    "UsBankRecognizer",
    "UsPassportRecognizer",
    "UsItinRecognizer",
    "UrlRecognizer",
    "DateRecognizer",
    "UuidRecognizer",
    "NhsRecognizer",
    "MedicalLicenseRecognizer",
)  # by our own: Presidio's are noise on bare numbers, or slow
WORDS = "words"  # in place of a pipeline, where our tagger finds the names
PARTS_WITHOUT_USE = ("tagger", "parser", "senter", "attribute_ruler", "lemmatizer", "morphologizer", "textcat")
IGNORED_LABELS = (
    "CARDINAL",
    "EVENT",
    "LANGUAGE",
    "LAW",
    "MONEY",
    "ORDINAL",
    "PERCENT",
    "PRODUCT",
    "QUANTITY",
    "WORK_OF_ART",
)


class LeanSpacy(SpacyNlpEngine):  # type: ignore[misc]
    """spaCy with nothing but what finds names. Words stand in for lemmas: context words are looked for inside them.

    A model without a name only cuts words, at white space: spaCy's own cutting takes quadratic time for "((((((".
    """

    def load(self) -> None:
        """Load every model without the parts that only grammar needs."""
        self.nlp = {m["lang_code"]: _loaded(m["model_name"], m["lang_code"]) for m in self.models}

    def _doc_to_nlp_artifact(self, doc: Any, language: str) -> NlpArtifacts:
        for token in doc:
            token.lemma_ = token.lower_
        return super()._doc_to_nlp_artifact(doc, language)


def _loaded(model: str, language: str) -> Any:
    if model != WORDS:
        return spacy.load(model, exclude=_useless(model))
    words = spacy.blank(language)
    words.tokenizer = Tokenizer(words.vocab)
    return words


def _useless(model: str) -> list[str]:
    config = spacy.util.load_config(f"{model}/config.cfg")
    parts = config["components"]
    listens = any("Listener" in str(parts[name].get("model")) for name in parts if name not in PARTS_WITHOUT_USE)
    return [*PARTS_WITHOUT_USE, *(() if listens else ("tok2vec",))]


class Names(EntityRecognizer):  # type: ignore[misc]
    """What our tagger over MiniLM finds, as a recognizer beside the others. English."""

    UNSAID = frozenset({"O", "OTHER"})  # nothing, and what patterns find better
    MOST = 0.94  # a tagger is never as sure as a checksum

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        kinds = [label for label in tagger.labels if label not in self.UNSAID]
        super().__init__(supported_entities=kinds, supported_language="en", name="Names")

    def load(self) -> None:
        """It is loaded."""

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:  # noqa: ARG002
        """Its findings of these kinds, less what is not to be believed."""
        found = (one for one in self._tagger(text) if one.label in entities)
        return [RecognizerResult(o.label, o.start, o.end, min(o.score, self.MOST)) for o in believable(text, found)]


class Cards(PatternRecognizer):  # type: ignore[misc]
    """Cards of every range, 13 to 19 digits, however they are grouped. All must pass Luhn's check."""

    RANGES = r"(?:[3-6]\d{3}|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720|2014|2149|2131|1800)"

    LENGTHS = re.compile(
        r"4(?:\d{12}|\d{15}|\d{18})|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|5[1-5]\d{14}|2[2-7]\d{14}|(?:5[06-9]|"
        r"6)\d{15,18}|"
        r"35\d{14,17}|(?:2014|2149)\d{11}|(?:2131|1800)\d{11}"
    )

    def __init__(self, supported_language: str) -> None:
        shape = Pattern(
            "card",
            rf"(?<![\w.-]){self.RANGES}(?:[ -]?\d){{9,15}}(?![\w-]|\.\d)|"
            rf"(?<![\w.-])[3-6](?:[ ./-]\d){{12,18}}(?![\w-]|\.\d)",
            0.3,
        )
        super().__init__("CREDIT_CARD", patterns=[shape], supported_language=supported_language, name="Cards")

    def validate_result(self, pattern_text: str) -> bool:
        """Luhn, and where no blank groups the digits, a length that cards of this range have."""
        bare = not pattern_text.isdigit() or bool(self.LENGTHS.fullmatch(pattern_text))
        return bare and is_card(pattern_text)


class Emails(EmailRecognizer):  # type: ignore[misc]
    """Checks a domain against the suffix list that comes with tldextract, never one from the network."""

    PATTERNS = (
        Pattern("e-mail", r"(?<![\w.+%-])[\w+%'&=-][\w.+%'&=-]{0,63}@(?:[\w-]{1,63}\.){1,8}[\w-]{1,62}\w\b", 0.5),
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._domains = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def validate_result(self, pattern_text: str) -> bool | None:
        """Certain under a public suffix; a company's own (`bob@mail.corp`) keeps the pattern's score."""
        return True if self._domains(pattern_text).fqdn else None


class Addresses(IpRecognizer):  # type: ignore[misc]
    """Surely an IP address with all its parts; `b::` and the like are code."""

    def validate_result(self, pattern_text: str) -> bool:
        """IPv4 has its four parts; IPv6 is known by its length, and by digits."""
        bare = pattern_text.partition("/")[0]
        if is_machines(pattern_text):
            return False
        return bare.count(".") == 3 or (len(bare) >= 7 and any(c.isdigit() for c in bare))

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None, *_: Any) -> list[RecognizerResult]:
        """Every address that is no version and no part of an object identifier."""
        found = super().analyze(text, entities, nlp_artifacts)
        return [one for one in found if not is_version(text, one.start, one.end)]


class SocialSecurity(UsSsnRecognizer):  # type: ignore[misc]
    """Prefers 3-2-4 digits for itself where some country's telephone numbers look the same."""

    PATTERNS = (Pattern("3-2-4", r"(?<![\w-])\d{3}([- .])\d{2}\1\d{4}(?![\w-])", 0.95),)
    BARE = (Pattern("9 digits", r"(?<![\w-])\d{9}(?![\w-])", 0.7),)


class Ibans(IbanRecognizer):  # type: ignore[misc]
    """Also in lower case: the check digits vouch for it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, regex_flags=re.IGNORECASE)

    def validate_result(self, pattern_text: str) -> bool | None:
        """By its check digits, in either case."""
        valid: bool | None = super().validate_result(pattern_text.upper())
        return valid


def build(model: str | None, language: str, tagger: Tagger | None = None) -> AnalyzerEngine:
    """Return an engine for one language. model: folder of a spaCy pipeline, which finds the names without a tagger."""
    ner = NerModelConfiguration(labels_to_ignore=IGNORED_LABELS, model_to_presidio_entity_mapping=_labels())
    name = model if model and tagger is None else WORDS
    nlp = LeanSpacy(models=[{"lang_code": language, "model_name": name}], ner_model_configuration=ner)
    nlp.load()
    registry = RecognizerRegistry(supported_languages=[language])
    if tagger is None:
        registry.load_predefined_recognizers(languages=[language], nlp_engine=nlp)
        for replaced in REPLACED:
            registry.remove_recognizer(replaced)
    else:
        registry.add_recognizer(Names(tagger))
    for better in (Cards, Emails, Ibans, Addresses, SocialSecurity, Phones, Rules, Speakers):
        registry.add_recognizer(better(supported_language=language))
    registry.add_recognizer(Rules(language, SECRETS, "Secrets"))
    registry.add_recognizer(Rules(language, WORDED, "Worded"))
    bare = SocialSecurity(supported_language=language, patterns=list(SocialSecurity.BARE))
    registry.add_recognizer(Near(bare, r"ssn|social"))
    known = {recognizer.name for recognizer in registry.recognizers}
    for identity in identities(language):
        if identity.name not in known:
            registry.add_recognizer(identity)
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[language])


def _labels() -> dict[str, str]:
    """Presidio's own map, and buildings, bridges and airports for places."""
    default = NerModelConfiguration().model_to_presidio_entity_mapping or {}
    return {**default, "FAC": "LOCATION"}
