"""Keys, signers and tokens for tests, made as an operator or a customer makes them."""

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.access.__main__ import main
from server.access.provider_settings import ProviderSettings
from tests.support.in_process import RunningServer
from tests.support.requests import lead_event

ISSUER = "https://login.example.com"
AUDIENCE = "analytics"

PRIVATE_KEYS: dict[str, Any] = {
    "RS256": generate_rsa_key(65_537, 2_048),
    "ES256": generate_ec_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate(),
}


def run_command(url: str, *arguments: str) -> tuple[int, str, str]:
    """Run `python -m server.access`, and return its exit status and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main(arguments, {"DATABASE_URL": url})
        except SystemExit as error:
            status = int(error.code or 0)
    return status, out.getvalue(), err.getvalue()


def make_key(url: str, kind: str, customer: str, *options: str) -> str:
    """Make a key, and return its text."""
    status, out, err = run_command(url, "create", kind, "--customer", customer, *options)
    assert status == 0, err
    (line,) = out.splitlines()
    return line


def make_signer(url: str, directory: Path, customer: str, algorithm: str = "RS256") -> str:
    """Register the public key of this algorithm as a customer's signer, and return its id."""
    return make_key(url, "signer", customer, "--public-key", str(write_public_key(directory, algorithm)))


def write_public_key(directory: Path, algorithm: str = "RS256") -> Path:
    """Write a public key as PEM, and return its path."""
    path = directory / f"{algorithm}.pem"
    path.write_bytes(public_pem(algorithm))
    return path


def public_pem(algorithm: str) -> bytes:
    """Return the public key of this algorithm as PEM."""
    pem: bytes = PRIVATE_KEYS[algorithm].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def revoke(url: str, key: str) -> None:
    """Revoke a key, given its text, or a signer, given its id."""
    status, _, err = run_command(url, "revoke", "_".join(key.split("_")[:2]))
    assert status == 0, err


def create(server: RunningServer, customer: str, credentials: str | None = None, **fields: Any) -> Any:
    """Store an event about a lead, with these credentials."""
    metadata = tuple(bearer(credentials).items()) if credentials is not None else ()
    return server.client.leads.CreateLeadAnalyticsEvent(lead_event(customer, **fields), timeout=5, metadata=metadata)


def bearer(credentials: str) -> dict[str, str]:
    """Return the header that has these credentials."""
    return {"authorization": f"Bearer {credentials}"}


def metadata_of(key: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call with this key."""
    return tuple(bearer(key).items())


def signers_claims(user: str, **changes: Any) -> dict[str, Any]:
    """Return what a customer's signer says about a user. A claim that is changed to None is left out."""
    now = int(time.time())
    return _change({"sub": user, "iat": now, "exp": now + 600}, changes)


def providers_claims(customers: object, scope: str = "events:write events:read", **changes: Any) -> dict[str, Any]:
    """Return what the identity provider says about a service. A claim that is changed to None is left out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "customers": customers, "scope": scope}
    return _change(claims, changes)


def sign(claims: dict[str, Any], kid: str, algorithm: str = "RS256", **header: Any) -> str:
    """Return a token."""
    return jwt.encode(claims, PRIVATE_KEYS[algorithm], algorithm, headers={"kid": kid, **header})


def write_jwks(path: Path, *algorithms: str) -> ProviderSettings:
    """Write the public keys of a provider, whose kids are the names of the algorithms, and return its settings."""
    path.write_text(json.dumps({"keys": [to_jwk(algorithm) for algorithm in algorithms or PRIVATE_KEYS]}))
    return ProviderSettings(ISSUER, AUDIENCE, str(path))


def to_jwk(algorithm: str) -> dict[str, Any]:
    """Return the public key of this algorithm as a JWK."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(PRIVATE_KEYS[algorithm].public_key(), as_dict=True)
    return {**made, "kid": algorithm, "use": "sig"}


def _change(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}
