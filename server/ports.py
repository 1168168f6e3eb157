"""Where a worker is called: its port, for everybody, and its Unix socket, for Envoy."""

import logging
import os
from typing import Any
from urllib.parse import quote

import grpc

from server.addresses import check_listenable, check_reach, format_host, is_loopback
from server.envoy_socket import private_socket
from server.settings import Settings, TlsFiles
from server.tls import Certificate, CertificateWatch, check_permissions, read_certificate
from server.transport.interface import Server
from server.variables import ConfigurationError

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Raise ConfigurationError if what `settings` ask for cannot be listened on, or should not be as it is."""
    address, tls = settings.bind_address, settings.tls
    if settings.grpc_port:
        # gRPC itself would only say that binding failed, and log that in a form of its own.
        check_listenable("GRPC_PORT", address, settings.grpc_port)
    check_reach(address, tls=tls is not None, plaintext=settings.plaintext)
    if settings.envoy_socket is None and not is_loopback(address) and (tls is None or tls.client_ca is None):
        raise ConfigurationError(
            f"ENVOY_SOCKET=off lets everybody who reaches BIND_ADDRESS={address} call what is for Envoy: "
            "set TLS_CLIENT_CA too, or leave ENVOY_SOCKET out"
        )
    if tls is not None:
        check_permissions(tls)
        read_certificate(tls)


def bind(server: Server, settings: Settings) -> int:
    """Bind the port and the socket that `settings` ask for, and return the port.

    Raises:
        ConfigurationError: one of them cannot be bound.
    """
    target = f"{format_host(settings.bind_address)}:{settings.grpc_port}"
    try:
        if settings.tls is None:
            port = server.add_insecure_port(target)
        else:
            port = server.add_secure_port(target, _make_credentials(settings.tls))
    except RuntimeError:
        raise ConfigurationError(f"GRPC_PORT={settings.grpc_port} cannot be listened on at {target}") from None
    if (path := settings.envoy_socket) is not None:
        with private_socket(path):
            try:
                server.add_insecure_port(f"unix:{quote(os.fsencode(path))}")
            except RuntimeError:
                raise ConfigurationError(f"ENVOY_SOCKET={path} cannot be listened on") from None
    return port


def _make_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files: for each new connection, gRPC asks whether the certificate changed."""
    certificate = read_certificate(files)
    watch = CertificateWatch(
        files,
        certificate,
        lambda reason: log.warning("the new certificate cannot be used: the old one stays", extra={"reason": reason}),
    )

    def fetch() -> Any:  # None stands for no change, which the annotation of its taker leaves out.
        new = watch.find_new()
        if new is None:
            return None
        log.info("the certificate has changed")
        return _configure(new)

    return grpc.dynamic_ssl_server_credentials(
        _configure(certificate), fetch, require_client_authentication=files.client_ca is not None
    )


def _configure(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.client_ca)
