"""Verifies credentials, and remembers those that are valid for a few seconds."""

import asyncio
import logging
import time
from dataclasses import replace
from datetime import datetime
from weakref import WeakValueDictionary

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from server.access.caller import Caller, Unauthenticated, name_share
from server.access.key import is_secret_of, is_signer_id, parse_key
from server.access.provider import Provider
from server.access.rates import Meter, Rate
from server.access.token import PublicKey, read_kid, verify_providers_token, verify_signers_token
from storage import DatabaseUnavailable
from storage.access_keys import AccessKey
from storage.key_finder import KeyFinder

log = logging.getLogger(__name__)

MAX_CREDENTIAL_CHARACTERS = 8_192
"""The longest credential that is looked at."""

# A revoked key is refused after so long. Credentials in use are verified again before, without anybody waiting for it.
_VALID_SECONDS = 4.5
_RENEW_SECONDS = 2.5
_RETRY_SECONDS = 0.5

# What a flood of valid tokens may take, about: for each, some objects, the token, and the claims that it became.
_MAX_BYTES = 16 << 20
_OVERHEAD_BYTES = 1_500


class _Known:
    """A credential that was verified."""

    __slots__ = ("byte_size", "caller", "renew_at", "verified_at")

    def __init__(self, caller: Caller, now: float, byte_size: int) -> None:
        self.caller = caller
        self.byte_size = byte_size
        self.verified_at = now
        self.renew_at = now + _RENEW_SECONDS
        if caller.expires_at is not None:
            self.renew_at = min(self.renew_at, now + caller.expires_at - time.time())


class Verifier:
    """The credentials that one server has verified. Belongs to one event loop."""

    def __init__(self, keys: KeyFinder, provider: Provider | None, *, away_seconds: float = 60.0) -> None:
        """Create it without any.

        Args:
            keys: finds the keys and signers.
            provider: the identity provider, if its tokens are accepted.
            away_seconds: how long a credential is accepted that cannot be verified again, because the database is away.
        """
        self._keys = keys
        self._provider = provider
        self._away_seconds = away_seconds
        self._known: dict[str, _Known] = {}
        self._bytes = 0
        self._renewing: dict[str, asyncio.Task[Caller]] = {}
        self._meters: WeakValueDictionary[str, Meter] = WeakValueDictionary()
        """By key, as long as a caller that was verified has it."""
        self._noting: set[asyncio.Task[None]] = set()

    def find(self, credential: str) -> Caller | None:
        """Return the caller of a credential that was verified a moment ago, or None if `verify` has to be asked.

        Args:
            credential: the value of the header, such as `Bearer sk_…`.
        """
        known = self._known.get(credential)
        if known is None:
            return None
        now = time.monotonic()
        if now < known.renew_at:
            return known.caller
        if now > known.verified_at + _VALID_SECONDS or _is_expired(known.caller):
            return None
        known.renew_at = min(now + _RETRY_SECONDS, known.verified_at + _VALID_SECONDS)
        if credential not in self._renewing:
            self._start_renewal(credential)
        return known.caller

    async def verify(self, credential: str) -> Caller:
        """Return the caller of a credential.

        Raises:
            Unauthenticated: it is not valid now.
            DatabaseUnavailable, TooManyLookups: nobody can tell.
        """
        started = time.monotonic()
        try:
            caller = await self._verify(credential, is_known=credential in self._known)
        except DatabaseUnavailable:
            known = self._known.get(credential)
            if known is None or time.monotonic() > known.verified_at + self._away_seconds or _is_expired(known.caller):
                raise
            return known.caller
        except Unauthenticated:
            self._forget(credential)
            raise
        self._remember(credential, caller, started)
        return caller

    def close(self) -> None:
        """Stop what goes on in the background."""
        for task in (*self._renewing.values(), *self._noting):
            task.cancel()

    def _start_renewal(self, credential: str) -> None:
        task = self._renewing[credential] = asyncio.create_task(self.verify(credential))

        def end(_: object) -> None:
            del self._renewing[credential]
            if not task.cancelled() and (error := task.exception()) and not isinstance(error, Unauthenticated):
                log.warning("a credential cannot be verified again", extra={"reason": type(error).__name__})

        task.add_done_callback(end)

    async def _verify(self, credential: str, *, is_known: bool) -> Caller:
        if len(credential) > MAX_CREDENTIAL_CHARACTERS:
            raise Unauthenticated("the credential is too long")
        scheme, _, text = credential.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("the scheme is not Bearer")
        if text.startswith(("pk_", "sk_")):
            return await self._verify_key(text, is_known=is_known)
        kid = read_kid(text)
        if is_signer_id(kid):
            return await self._verify_signers_token(text, kid, is_known=is_known)
        if self._provider is None:
            raise Unauthenticated("it is neither a key nor a signer's token, and there is no identity provider")
        key = await self._provider.find(kid)
        if key is None:
            raise Unauthenticated("the identity provider has no key of the token's kid")
        return verify_providers_token(text, key, kid, self._provider.issuer, self._provider.audience)

    async def _verify_key(self, text: str, *, is_known: bool) -> Caller:
        key = parse_key(text)
        if key is None:
            raise Unauthenticated("the key has a typing error: its form or its checksum is wrong")
        row = await self._keys.find(key.id, is_known=is_known)
        is_right = is_secret_of(key, row.secret_hash if row else None)
        if row is None or not is_right or row.kind != key.kind:
            raise Unauthenticated(f"{key.id} is not known, or its secret is another")
        self._check_row(row)
        return Caller(
            name=row.id,
            customers=frozenset([row.customer_id]),
            scopes=frozenset(row.scopes),
            users=None if row.users is None else frozenset(row.users),
            origins=None if row.origins is None else frozenset(row.origins),
            expires_at=_to_timestamp(row.expires_at),
            meter=self._find_meter(row),
            share=name_share(row.id),
        )

    async def _verify_signers_token(self, token: str, kid: str, *, is_known: bool) -> Caller:
        row = await self._keys.find(kid, is_known=is_known)
        if row is None or row.public_key is None or row.algorithm is None:
            raise Unauthenticated(f"{kid} is not known")
        try:
            key = PublicKey(row.algorithm, load_pem_public_key(row.public_key.encode()))
        except (ValueError, UnsupportedAlgorithm):
            log.error("the public key of a signer cannot be read", extra={"key": kid})
            raise Unauthenticated(f"the public key of {kid} cannot be read") from None
        caller = verify_signers_token(token, key, row.id, row.customer_id)
        self._check_row(row)
        return replace(caller, meter=self._find_meter(row))

    def _find_meter(self, row: AccessKey) -> Meter | None:
        rate = Rate(row.events_per_second, row.bytes_per_second)
        if not any(rate):
            return None
        meter = self._meters.get(row.id)
        if meter is None or meter.rate != rate:
            meter = self._meters[row.id] = Meter(self._keys, row.id, rate)
        return meter

    def _check_row(self, row: AccessKey) -> None:
        """Raise Unauthenticated if a key or signer is revoked or expired, and otherwise note that it is used."""
        now = time.time()
        if row.revoked_at is not None:
            raise Unauthenticated(f"{row.id} is revoked")
        if row.expires_at is not None and row.expires_at.timestamp() <= now:
            raise Unauthenticated(f"{row.id} has expired")
        if row.last_used_at is None or row.last_used_at.timestamp() <= now - 3_600:
            task = asyncio.create_task(self._keys.note_use(row.id))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    def _remember(self, credential: str, caller: Caller, verified_at: float) -> None:
        self._forget(credential)
        known = self._known[credential] = _Known(caller, verified_at, _OVERHEAD_BYTES + 4 * len(credential))
        self._bytes += known.byte_size
        while self._known and (self._bytes > _MAX_BYTES or self._is_useless(next(iter(self._known.values())))):
            self._forget(next(iter(self._known)))

    def _is_useless(self, known: _Known) -> bool:
        """Return whether a credential has expired, or was verified too long ago to be accepted in any case."""
        age = time.monotonic() - known.verified_at
        return _is_expired(known.caller) or age > max(self._away_seconds, _VALID_SECONDS)

    def _forget(self, credential: str) -> None:
        known = self._known.pop(credential, None)
        if known is not None:
            self._bytes -= known.byte_size


def _is_expired(caller: Caller) -> bool:
    return caller.expires_at is not None and caller.expires_at <= time.time()


def _to_timestamp(time_: datetime | None) -> float | None:
    return None if time_ is None else time_.timestamp()
