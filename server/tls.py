"""The certificate of the ports: read from its files, checked, and read again when they change."""

import contextlib
import os
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from server.accounts import name_account
from server.settings import TlsFiles
from server.variables import ConfigurationError

LOOK_SECONDS = 1.0
"""How often the files are looked at."""

# A file that was changed so recently may change again without a new time of change.
_UNSETTLED_SECONDS = 2.0


class Certificate(NamedTuple):
    """What the files hold, all of it as PEM."""

    chain: bytes
    """The certificate itself, and after it those that lead to its issuer."""
    key: bytes
    client_ca: bytes | None
    """Who issues the certificates that callers must have; None if they need none."""


def read_certificate(files: TlsFiles) -> Certificate:
    """Return what the files hold, once it is known that TLS can use it.

    Raises:
        ConfigurationError: a file cannot be read, or what it holds cannot be used; the message names the variable.
    """
    certificate = Certificate(
        _read("TLS_CERT", files.certificate),
        _read("TLS_KEY", files.key),
        _read("TLS_CLIENT_CA", files.client_ca) if files.client_ca else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _load(context, certificate)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"TLS_KEY={files.key} is not the key of TLS_CERT={files.certificate}") from None
        reason = error.reason or "no PEM"
        raise ConfigurationError(
            f"TLS_CERT={files.certificate} with TLS_KEY={files.key} cannot be used: {reason}"
        ) from None
    except _EncryptedKey:
        raise ConfigurationError(f"TLS_KEY={files.key} has a passphrase: it must have none") from None
    if certificate.client_ca is not None:
        try:
            context.load_verify_locations(cadata=drop_comments(certificate.client_ca))
        except (ssl.SSLError, ValueError):
            raise ConfigurationError(f"TLS_CLIENT_CA={files.client_ca} holds no certificate as PEM") from None
    return certificate


def drop_comments(pem: bytes) -> str:
    """Return PEM as text. What is not ASCII stands between its blocks, and in any encoding."""
    return pem.decode("ascii", "ignore")


def check_permissions(files: TlsFiles) -> None:
    """Raise ConfigurationError if accounts that are neither the owner nor of the group may read or change the key."""
    try:
        mode = files.key.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"TLS_KEY={files.key} cannot be read: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise ConfigurationError(f"TLS_KEY={files.key} is open to every account: chmod o= {files.key}")


class CertificateWatch:
    """Finds out when the files hold another certificate. May be asked in any thread, but in one at a time."""

    def __init__(
        self, files: TlsFiles, current: Certificate, warn: Callable[[str], None], seconds: float = LOOK_SECONDS
    ) -> None:
        """Begin to watch.

        Args:
            files: the files.
            current: what they held.
            warn: called with why the files cannot be used, once for each reason.
            seconds: how often the files are looked at, at most.
        """
        self._files = files
        self._current = current
        self._seconds = seconds
        self._warn = warn
        self._state: object = None
        self._warned: str | None = None
        self._next_look = 0.0

    def find_new(self) -> Certificate | None:
        """Return the certificate if it is another one than before. Until its files fit together, it is not."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + self._seconds
        try:
            state, is_settled = self._look()
            if state == self._state:
                return None
            self._state = state if is_settled else None
            certificate = read_certificate(self._files)
        except (ConfigurationError, OSError) as error:
            reason = str(error)
            if reason != self._warned:
                self._warned = reason
                self._warn(reason)
            return None
        self._warned = None
        if certificate == self._current:
            return None
        self._current = certificate
        return certificate

    def _look(self) -> tuple[object, bool]:
        """Return what changes whenever a file does, and whether the last change is long enough ago to rely on it."""
        found = [path.stat() for path in self._files if path is not None]
        latest = max(each.st_ctime for each in found)
        state = [(each.st_dev, each.st_ino, each.st_size, each.st_ctime_ns) for each in found]
        return state, abs(time.time() - latest) > _UNSETTLED_SECONDS


class _EncryptedKey(Exception):
    """A key for which a passphrase is needed."""


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Load exactly what was read. OpenSSL loads it from files alone, and those on the disk may have changed."""

    def refuse() -> str:
        raise _EncryptedKey

    with _hold_in_memory(certificate.chain) as chain, _hold_in_memory(certificate.key) as key:
        context.load_cert_chain(chain, key, refuse)


@contextlib.contextmanager
def _hold_in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file that is nowhere but in memory."""
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError:
        account = name_account(os.geteuid())
        raise ConfigurationError(f"{variable}={path} cannot be read by the account {account}") from None
    except OSError as error:
        raise ConfigurationError(f"{variable}={path} cannot be read: {error.strerror}") from None
