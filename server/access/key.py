"""The text of a key: how it is made, read and compared.

A key is `pk_<id>_<secret>` or `sk_<id>_<secret>`. The last eight characters are a checksum of all before them. By it, a
typing error is told from a key that is not known, and a scanner for leaked secrets tells a key from other text.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from typing import NamedTuple

PUBLISHABLE = "publishable"
SECRET = "secret"  # noqa: S105 - the name of a kind of key
SIGNER = "signer"
PREFIXES = {PUBLISHABLE: "pk", SECRET: "sk", SIGNER: "signer"}

_KINDS = {"pk": PUBLISHABLE, "sk": SECRET}
_TEXT = re.compile(r"(pk|sk)_([0-9a-f]{16})_([0-9a-f]{32})([0-9a-f]{8})", re.ASCII)
_SIGNER_ID = re.compile(r"signer_[0-9a-f]{16}", re.ASCII)


class Key(NamedTuple):
    """A key as its holder has it."""

    kind: str
    id: str
    secret: str


def make_id(kind: str) -> str:
    """Return the id of a new key or signer."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(8)}"


def make_key(key_id: str) -> Key:
    """Return a key with this id and a new secret of 128 bits."""
    return Key(_KINDS[key_id.partition("_")[0]], key_id, secrets.token_hex(16))


def format_key(key: Key) -> str:
    """Return the text of a key."""
    text = f"{key.id}_{key.secret}"
    return text + _sum(text)


def parse_key(text: str) -> Key | None:
    """Return the key that `text` is, or None if it is none or its checksum is wrong."""
    match = _TEXT.fullmatch(text)
    if match is None or _sum(text[:-8]) != match[4]:
        return None
    return Key(_KINDS[match[1]], f"{match[1]}_{match[2]}", match[3])


def is_signer_id(text: str) -> bool:
    """Return whether `text` has the form of a signer's id."""
    return _SIGNER_ID.fullmatch(text) is not None


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a secret. It is random and long, so it needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret_of(key: Key, stored: bytes | None) -> bool:
    """Return whether the secret of a key is the one that is stored. For a key that is not known it takes as long."""
    equal = hmac.compare_digest(hash_secret(key.secret), stored or bytes(32))
    return equal and stored is not None


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
