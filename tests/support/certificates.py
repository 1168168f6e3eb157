"""Certificates for tests, from an issuer that the tests make too."""

import datetime
import ipaddress
import os
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from server.settings import TlsFiles

_NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


class Pem(NamedTuple):
    """A certificate and its key."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The certificate's serial number, which no other has."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Replace both files in `directory`, each by renaming, and return the paths: certificate, key."""
        paths = directory / f"{name}.crt", directory / f"{name}.key"
        for path, content in zip(paths, self, strict=True):
            replace(path, content)
        return paths


def write_files(directory: Path, pem: Pem, client_ca: bytes | None = None) -> TlsFiles:
    """Write the files of a server: its certificate, and who issues the certificates of its callers."""
    if client_ca is not None:
        replace(directory / "ca.crt", client_ca)
    return TlsFiles(*pem.write(directory, "server"), directory / "ca.crt" if client_ca is not None else None)


class Issuer:
    """Issues certificates that are good for this machine."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("issuer")
        builder = _begin(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = _encode(builder.sign(self._key, hashes.SHA256()))
        """Its own certificate."""

    def issue(self, name: str = "localhost", days: int = 1) -> Pem:
        """Return a new certificate that is valid for so many days, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _begin(_name(name), self._name, key.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        return Pem(_encode(builder.sign(self._key, hashes.SHA256())), encode_key(key))


def certify(key: rsa.RSAPrivateKey) -> bytes:
    """Return a certificate of a key that is signed by that key itself, as PEM."""
    name = _name("self-signed")
    return _encode(_begin(name, name, key.public_key()).sign(key, hashes.SHA256()))


def encode_key(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a key as PEM."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def replace(path: Path, content: bytes) -> None:
    """Replace a file by renaming another, so that nobody sees a part of it. It stays its owner's alone."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    owner = path.parent.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    new.replace(path)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, days: int = 1
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _encode(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
