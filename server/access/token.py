"""Tokens (JWT): how one is read before anything in it is believed, and how its signature and its claims are checked."""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from server.access.caller import SCOPES, WRITE, Caller, Unauthenticated, name_share

LEEWAY_SECONDS = 30
"""By how much the clock of a signer may differ from ours."""

MAX_SIGNER_SECONDS = 3_600
"""For how long a token of a customer's signer may be valid."""

_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_MAX_KID_CHARACTERS = 255
_RSA_BITS = range(2_048, 8_193)


class PublicKey(NamedTuple):
    """A key that verifies tokens, and the one algorithm that it is for."""

    algorithm: str
    key: Any


def find_algorithm(key: object) -> str:
    """Return the algorithm of the tokens that a public key verifies.

    Raises:
        ValueError: it is of a kind or size that is not accepted.
    """
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    raise ValueError("it must be an RSA key of 2,048 to 8,192 bits, an EC key on P-256 or an Ed25519 key")


def read_kid(token: str) -> str:
    """Return the id of the key that a token says it is signed by. Nothing else of its header has any effect.

    Raises:
        Unauthenticated: it is no token in the one form that is accepted.
    """
    match = _PARTS.fullmatch(token)
    if match is None:
        raise Unauthenticated("it is neither a key nor a token of three parts")
    header, _, _ = [_decode(part) for part in match.groups()]
    kid = _read_object(header).get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARACTERS:
        raise Unauthenticated("the token has no kid in its header")
    return kid


def verify_signers_token(token: str, key: PublicKey, signer_id: str, customer_id: str) -> Caller:
    """Return the caller of a token that a customer's own signer has signed. It writes for its subject alone.

    Raises:
        Unauthenticated: the token is not valid now.
    """
    # The audience is not looked at: the id in `kid` is ours, so that the token can be meant for no other service.
    claims = _verify(token, key, ["exp", "iat", "sub"], verify_aud=False, verify_iss=False)
    subject, expires_at = claims["sub"], _read_time(claims["exp"])
    if not subject:
        raise Unauthenticated(f"a token of {signer_id} has an empty sub")
    if expires_at - _read_time(claims["iat"]) > MAX_SIGNER_SECONDS:
        raise Unauthenticated(f"a token of {signer_id} is valid for more than an hour")
    return Caller(
        name=signer_id,
        customers=frozenset([customer_id]),
        scopes=frozenset([WRITE]),
        users=frozenset([subject]),
        expires_at=expires_at + LEEWAY_SECONDS,
        share=name_share(signer_id),
    )


def verify_providers_token(token: str, key: PublicKey, kid: str, issuer: str, audience: str) -> Caller:
    """Return the caller of a token of the identity provider, with the customers and scopes that it claims.

    Raises:
        Unauthenticated: the token is not valid now, or is for another audience.
    """
    claims = _verify(token, key, ["exp", "iss", "aud"], issuer=issuer, audience=audience)
    customers, scope = claims.get("customers"), claims.get("scope", "")
    if customers == "*":
        allowed = None
    elif isinstance(customers, list) and all(isinstance(each, str) and each for each in customers):
        allowed = frozenset(customers)
    else:
        raise Unauthenticated("the claim customers is neither a list of texts nor *")
    if not isinstance(scope, str):
        raise Unauthenticated("the claim scope is not a text")
    return Caller(
        name=kid,
        customers=allowed,
        scopes=frozenset(scope.split(" ")).intersection(SCOPES),
        expires_at=_read_time(claims["exp"]) + LEEWAY_SECONDS,
    )


def _verify(token: str, key: PublicKey, required: Sequence[str], **checks: Any) -> dict[str, Any]:
    """Return the claims of a token whose signature and times are right."""
    names = ("verify_aud", "verify_iss")
    options = {"require": list(required), **{name: checks.pop(name) for name in names if name in checks}}
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            options=options,  # type: ignore[arg-type]  # its own TypedDict
            leeway=LEEWAY_SECONDS,
            **checks,
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # The name alone, such as ExpiredSignatureError: the text may quote the token.
        raise Unauthenticated(f"the token is refused: {type(error).__name__}") from None
    # PyJWT takes the last of two claims of one name. What stands twice is not believed at all.
    _read_object(_decode(token.split(".")[1]))
    return claims


def _decode(part: str) -> bytes:
    """Return what a part of a token encodes, if it is encoded in the one way that there is."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise Unauthenticated("a part of the token is not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise Unauthenticated("a part of the token is not base64url in its one form")
    return data


def _read_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode(), object_pairs_hook=_make_object)
    except (ValueError, RecursionError):
        raise Unauthenticated("a part of the token is not JSON, or has a name twice") from None
    if not isinstance(value, dict):
        raise Unauthenticated("a part of the token is not a JSON object")
    return value


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _read_time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated("a time in the token is not a number")
    try:
        return float(value)
    except OverflowError:
        raise Unauthenticated("a time in the token is out of range") from None
