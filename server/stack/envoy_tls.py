"""The certificate as Envoy reads it: files of our own, so that whatever happens to those of the operator is checked."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from server.settings import TlsFiles
from server.stack import console
from server.tls import LOOK_SECONDS, Certificate, CertificateWatch, drop_comments


class EnvoyTls:
    """The files from which Envoy takes the certificate, in a directory that only its account can enter."""

    def __init__(self, run: Path) -> None:
        self.certificate = run / "tls-certificate.json"
        """The certificate and its key."""
        self.client_ca = run / "tls-client-ca.json"
        """Who issues the certificates of callers."""

    def write(self, certificate: Certificate) -> None:
        """Replace both files. Envoy takes over each as soon as it is replaced, for new connections.

        Raises:
            OSError: a file cannot be written.
        """
        pair = {"certificate_chain": _quote(certificate.chain), "private_key": _quote(certificate.key)}
        _replace(self.certificate, "certificate", {"tls_certificate": pair})
        if certificate.client_ca is not None:
            trusted = {"trusted_ca": _quote(certificate.client_ca)}
            _replace(self.client_ca, "client_ca", {"validation_context": trusted})

    def remove(self) -> None:
        """Remove both files, and one that was not written to its end."""
        for path in (self.certificate, self.client_ca):
            path.unlink(missing_ok=True)
            _name_new(path).unlink(missing_ok=True)

    async def follow(self, files: TlsFiles, current: Certificate) -> None:
        """Write the files whenever the operator's change, until this is cancelled.

        Args:
            files: those of the operator.
            current: what is written.
        """
        watch = CertificateWatch(
            files, current, lambda reason: console.log("stack", f"{reason}; the old certificate stays")
        )
        unwritten: Certificate | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            unwritten = await asyncio.to_thread(watch.find_new) or unwritten
            if unwritten is not None:
                with contextlib.suppress(OSError):  # The disk is full, say. It is tried again.
                    self.write(unwritten)
                    unwritten = None
                    console.log("stack", "the certificate has changed")


def _quote(pem: bytes) -> dict[str, str]:
    return {"inline_string": drop_comments(pem)}


def _name_new(path: Path) -> Path:
    return path.with_suffix(".new")


def _replace(path: Path, name: str, secret: dict[str, Any]) -> None:
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    new = _name_new(path)
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"resources": [{"@type": kind, "name": name, **secret}]}, file)
    new.replace(path)
