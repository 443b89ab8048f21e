"""The one secret of an installation, and what is derived from it: the audit chain's key, sealing at rest, and names
that hide personal data.

Every gateway of an installation needs the same: `PENSTOCK_SECRET`, else a file in the state folder made at first use.
Whoever has the database alone can neither forge the audit chain nor read what is sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.installation.paths import StateError, once

_NONCE = 12
_SHORTEST = 32


class SealError(ValueError):
    """What was sealed cannot be opened: another secret sealed it, or it was changed."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals bytes with AES-256-GCM. key: 32 bytes."""

    key: bytes

    def seal(self, plain: bytes, about: str = "") -> bytes:
        """`plain`, unreadable and unchangeable without the key. `about` must be the same when it is opened."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self.key).encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str = "") -> bytes:
        """What was sealed. Raises SealError."""
        try:
            return AESGCM(self.key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError("not sealed by this PENSTOCK_SECRET, or changed since") from error


def one_process() -> Sealer:
    """A sealer with a new key: nothing but this process opens what it sealed."""
    return Sealer(AESGCM.generate_key(256))


class Secrets:
    """Keys for each use, derived from one secret by HKDF-SHA256."""

    def __init__(self, secret: str) -> None:
        """Raises StateError when the secret is too short to be one."""
        if len(secret) < _SHORTEST:
            raise StateError(f"PENSTOCK_SECRET has {len(secret)} characters: give it at least {_SHORTEST} random ones")
        self._secret = secret.encode()
        self.audit_key = self._derive("audit chain")
        self.sealer = Sealer(self._derive("sealing at rest"))
        self.pseudonym_key = self._derive("names for personal data")

    @classmethod
    def load(cls) -> Secrets:
        """`PENSTOCK_SECRET`, else `secret.key` in the state folder. Raises StateError."""
        return cls(os.environ.get("PENSTOCK_SECRET") or once("secret.key", lambda: secrets.token_urlsafe(48)))

    @property
    def fingerprint(self) -> str:
        """Tells one secret from another without giving either away."""
        return hmac.new(self._secret, b"fingerprint", hashlib.sha256).hexdigest()[:16]

    def data_key(self) -> bytes:
        """A new tenant's data key, sealed: what the `tenants` row keeps."""
        return self.sealer.seal(AESGCM.generate_key(256), "data key")

    def sealer_of(self, data_key: bytes) -> Sealer:
        """The tenant's own sealer, from its row's data key. Raises SealError."""
        return Sealer(self.sealer.open(data_key, "data key"))

    def _derive(self, use: str) -> bytes:
        return HKDF(SHA256(), 32, None, f"penstock {use}".encode()).derive(self._secret)
