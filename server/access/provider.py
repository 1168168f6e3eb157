"""The identity provider's public keys, from a file or a URL."""

import asyncio
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from server.access.provider_settings import ProviderSettings
from server.access.token import PublicKey, find_algorithm
from storage.daemon_thread import run_in_daemon_thread

log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20
_FETCH_SECONDS = 3.0

# How long keys that were fetched are used without another look. The provider publishes a new one well before it signs.
_FRESH_SECONDS = 300.0

# A key that is not known may be new. A flood of such must not become a flood of requests to the provider.
_PAUSE_SECONDS = 10.0


class Provider:
    """The keys of an identity provider, by their ids. Belongs to one event loop."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Read the file, if it is one. A URL is asked when a token is to be verified.

        Raises:
            ValueError: the file cannot be used. The message says why.
        """
        self.issuer, self.audience = settings.issuer, settings.audience
        self._url = settings.jwks_url
        self._file = Path(settings.jwks_file)
        self._keys: dict[str, PublicKey] = {}
        self._version: object = None
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        if not self._url:
            try:
                self._keys, self._version = self._read_file(), self._find_version()
            except OSError as error:
                raise ValueError(error.strerror) from None

    async def find(self, kid: str) -> PublicKey | None:
        """Return the key of that id, as the file or the URL has it now, or None if there is none."""
        if not self._url:
            self._reread()
            return self._keys.get(kid)
        now = time.monotonic()
        age = now - self._fetched_at
        if (age > _FRESH_SECONDS or kid not in self._keys) and now - self._tried_at > _PAUSE_SECONDS:
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None and (kid not in self._keys):
            await asyncio.shield(self._fetching)
        return self._keys.get(kid)

    def _reread(self) -> None:
        """Read the file again if it has changed. If it cannot be read, the keys stay as they are."""
        try:
            version = self._find_version()
            if version == self._version:
                return
            self._version = version
            self._keys = self._read_file()
        except (OSError, ValueError) as error:
            log.error("JWKS_FILE cannot be read: its last keys are used", extra={"reason": str(error)})
        else:
            log.info("JWKS_FILE has changed", extra={"keys": len(self._keys)})

    def _find_version(self) -> object:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read_file(self) -> dict[str, PublicKey]:
        with self._file.open("rb") as file:
            return parse_keys(file.read(_MAX_BYTES + 1))

    async def _fetch(self) -> None:
        try:
            text = await run_in_daemon_thread(_make_request(self._url), "jwks")
            self._keys = parse_keys(text)
            self._fetched_at = time.monotonic()
        except (OSError, ValueError, http.client.HTTPException) as error:
            log.error("JWKS_URL cannot be read: its last keys are used", extra={"reason": type(error).__name__})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the address of the keys is the one that the operator gave, and no other."""

    def redirect_request(self, *_: Any) -> None:
        """Return no other request, so that the response is an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _make_request(url: str) -> Callable[[], bytes]:
    def request() -> bytes:
        try:
            with _OPENER.open(url, timeout=_FETCH_SECONDS) as answer:
                text: bytes = answer.read(_MAX_BYTES + 1)
                return text
        except urllib.error.HTTPError as error:
            error.close()  # It holds the connection.
            raise

    return request


def parse_keys(text: bytes) -> dict[str, PublicKey]:
    """Return the keys of a JWK set that verify tokens, by their ids. Others are passed over.

    Raises:
        ValueError: it is no JWK set, or has none.
    """
    if len(text) > _MAX_BYTES:
        raise ValueError("it is over 1 MiB")
    try:
        entries = json.loads(text)["keys"]
        keys = {entry["kid"]: found for entry in entries if (found := _parse_key(entry)) is not None}
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is no JWK set") from None
    if not keys:
        raise ValueError('it has no key with a "kid" for RS256, ES256 or EdDSA')
    return keys


def _parse_key(entry: dict[str, Any]) -> PublicKey | None:
    if not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    try:
        key = jwt.PyJWK(entry).key
        algorithm = find_algorithm(key)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return PublicKey(algorithm, key) if entry.get("alg", algorithm) == algorithm else None
