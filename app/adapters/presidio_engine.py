"""Build the Presidio engine: a lean spaCy pipeline and the recognizers, put right where they miss.

PresidioScrubber -> [build]. Imports Presidio and spaCy at its top: import this only when one is wanted.
"""

from __future__ import annotations

from typing import Any

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, Pattern, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

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
    """spaCy with nothing but what finds names. Words stand in for lemmas: context words are looked for inside them."""

    def load(self) -> None:
        """Load every model without the parts that only grammar needs."""
        self.nlp = {m["lang_code"]: spacy.load(m["model_name"], exclude=_useless(m["model_name"])) for m in self.models}

    def _doc_to_nlp_artifact(self, doc: Any, language: str) -> NlpArtifacts:
        for token in doc:
            token.lemma_ = token.lower_
        return super()._doc_to_nlp_artifact(doc, language)


def _useless(model: str) -> list[str]:
    config = spacy.util.load_config(f"{model}/config.cfg")
    parts = config["components"]
    listens = any("Listener" in str(parts[name].get("model")) for name in parts if name not in PARTS_WITHOUT_USE)
    return [*PARTS_WITHOUT_USE, *(() if listens else ("tok2vec",))]


class Cards(CreditCardRecognizer):  # type: ignore[misc]
    """Also Mastercard's 2-series and JCB's 15 digits. All of them must pass Luhn's check."""

    PATTERNS = (
        *CreditCardRecognizer.PATTERNS,
        Pattern("Mastercard 2-series", r"\b2[2-7]\d{2}[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}\b", 0.3),
        Pattern("JCB, 15 digits", r"\b(?:2131|1800)(?:[- ]?\d{4}[- ]?\d{4}[- ]?\d{3}|[- ]?\d{6}[- ]?\d{5})\b", 0.3),
    )


class Emails(EmailRecognizer):  # type: ignore[misc]
    """Checks a domain against the suffix list that comes with tldextract, never one from the network."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._domains = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def validate_result(self, pattern_text: str) -> bool | None:
        """Certain under a public suffix; a company's own (`bob@mail.corp`) keeps the pattern's score."""
        return True if self._domains(pattern_text).fqdn else None


class Phones(PhoneRecognizer):  # type: ignore[misc]
    """Believes a valid number that is written as one. Bare digits still need a word like `call` near them."""

    WRITTEN = 0.6

    def _get_recognizer_result(self, match: Any, text: str, region: str, nlp_artifacts: NlpArtifacts) -> Any:
        result = super()._get_recognizer_result(match, text, region, nlp_artifacts)
        if not text[match.start : match.end].isdigit():
            result.score = self.WRITTEN
        return result


class SocialSecurity(UsSsnRecognizer):  # type: ignore[misc]
    """Prefers 3-2-4 digits for itself where some country's telephone numbers look the same."""

    PATTERNS = (Pattern("3-2-4", r"\b\d{3}([- .])\d{2}\1\d{4}\b", 0.65), *UsSsnRecognizer.PATTERNS)


def build(model: str, language: str) -> AnalyzerEngine:
    """Return an engine for one language. model: folder of a spaCy pipeline."""
    ner = NerModelConfiguration(labels_to_ignore=IGNORED_LABELS, model_to_presidio_entity_mapping=_labels())
    nlp = LeanSpacy(models=[{"lang_code": language, "model_name": model}], ner_model_configuration=ner)
    nlp.load()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=nlp)
    for better in (Cards, Emails, Phones, SocialSecurity):
        registry.remove_recognizer(better.__base__.__name__)
        registry.add_recognizer(better(supported_language=language))
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[language])


def _labels() -> dict[str, str]:
    """Presidio's own map, and buildings, bridges and airports for places."""
    default = NerModelConfiguration().model_to_presidio_entity_mapping or {}
    return {**default, "FAC": "LOCATION"}
