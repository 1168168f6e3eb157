"""Callers of a port that uses TLS."""

import contextlib
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from tests.support.certificates import Pem
from tests.support.until import until


def make_context(issuer: bytes, directory: Path | None = None, own: Pem | None = None) -> ssl.SSLContext:
    """Return what a caller needs who trusts `issuer`.

    Args:
        issuer: the certificate of the issuer, as PEM.
        directory: where files may be made.
        own: the caller's own certificate.
    """
    context = ssl.create_default_context(cadata=issuer.decode())
    if own is not None:
        assert directory is not None
        context.load_cert_chain(*own.write(directory, "caller"))
    return context


def read_serial(port: int, context: ssl.SSLContext) -> int:
    """Return the serial number of the certificate on a port."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


# An alert, or the end of the connection. Other reasons would be OpenSSL's own, here.
_REFUSALS = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNEXPECTED_EOF_WHILE_READING")


def find_versions(port: int, context: ssl.SSLContext) -> set[str]:
    """Return the versions of TLS that a port accepts."""
    context.set_ciphers("ALL:@SECLEVEL=0")  # Otherwise OpenSSL itself would not begin with an old version.
    found = set()
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Two are old.
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = version
            context.minimum_version = version
        try:
            read_serial(port, context)
        except ssl.SSLError as error:
            if error.reason not in _REFUSALS:
                raise
        else:
            found.add(version.name)
    return found


@contextlib.contextmanager
def stalled_handshakes(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections on which a TLS handshake has begun and does not go on; half have sent nothing at all."""
    # The head of a record of 512 bytes with a ClientHello, and its first bytes.
    begun = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with contextlib.ExitStack() as cleanup:
        connections = []
        for number in range(count):
            connections.append(cleanup.enter_context(socket.create_connection(("127.0.0.1", port), 10)))
            if number % 2:
                connections[-1].sendall(begun)
        yield connections


def is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed the connection."""
    try:
        return not connection.recv(1 << 16, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def wait_until_all_are_closed(connections: list[socket.socket]) -> None:
    """Wait until the peer has closed all connections."""
    left = list(connections)

    def find_none() -> bool:
        left[:] = [each for each in left if not is_closed(each)]
        return not left

    until(find_none)
