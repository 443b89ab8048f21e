"""Presidio's recognizers of identity numbers, of which countries, and what must stand near them.

engine -> [identities]. Those with a letter among the check digits stand by themselves; bare digits, which pass a check
once in ten times, need a word near them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer import predefined_recognizers as known

from app.privacy.presidio.patterns import is_near

NEEDS: dict[str, str] = {
    "MacAddressRecognizer": "",
    "CryptoRecognizer": "",
    "SgFinRecognizer": "",
    "EsNifRecognizer": "",
    "EsNieRecognizer": "",
    "ItFiscalCodeRecognizer": "",
    "FiPersonalIdentityCodeRecognizer": "",
    "UkNinoRecognizer": r"national insurance|nino|\bni\b",
    "NhsRecognizer": r"nhs|national health",
    "PlPeselRecognizer": r"pesel",
    "InPanRecognizer": r"pan\b|permanent account",
    "InAadhaarRecognizer": r"aadhaar|uidai|\buid",
    "AuTfnRecognizer": r"tfn|tax file",
    "AuAbnRecognizer": r"abn\b|business number",
    "AuAcnRecognizer": r"acn\b|company number",
    "AuMedicareRecognizer": r"medicare",
    "CaSinRecognizer": r"sin\b|social insurance",
    "DeTaxIdRecognizer": r"steuer|idnr|tax id|tin\b",
    "TrNationalIdRecognizer": r"kimlik|tckn|turkish id|national id",
    "ThTninRecognizer": r"thai|national id|id card",
    "KrRrnRecognizer": r"rrn|resident registration|korea",
    "SePersonnummerRecognizer": r"personnummer|personal (?:identity )?number|swedish",
    "ZaIdNumberRecognizer": r"south african|id number|identity number",
    "MedicalLicenseRecognizer": r"dea\b|medical licen|certificate|prescri",
}


class Near(EntityRecognizer):  # type: ignore[misc]
    """Another recognizer, believed only where one of its words stands near."""

    def __init__(self, other: Any, words: str) -> None:
        self._other = other
        self._near = re.compile(rf"\b(?:{words})", re.IGNORECASE)
        super().__init__(other.supported_entities, name=other.name, supported_language=other.supported_language)

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """What the other finds near the words. Without the words, the other is not even asked."""
        if not self._near.search(text):
            return []
        found = self._other.analyze(text, entities, nlp_artifacts)
        return [result for result in found if is_near(self._near, text, result.start, result.end)]


def identities(language: str) -> Iterator[EntityRecognizer]:
    """One recognizer for each of NEEDS that this Presidio has."""
    for name, words in NEEDS.items():
        kind = getattr(known, name, None)
        if kind is not None:
            found = kind(supported_language=language)
            yield Near(found, words) if words else found
