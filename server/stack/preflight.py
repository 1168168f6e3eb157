"""Checks that run before anything is started, so that an error message can name the variable to change."""

import psycopg2

from server.addresses import check_listenable
from server.stack.settings import DatabaseUrls, StackError, StackSettings, hide_password, name_grpc_port
from server.tls import Certificate, check_permissions, read_certificate


def check_ports(settings: StackSettings) -> None:
    """Raise ConfigurationError, naming the variable, if the stack cannot listen on one of its ports."""
    check_listenable("HTTP_PORT", settings.bind_address, settings.http_port)
    if settings.metrics_port is not None:
        check_listenable("METRICS_PORT", settings.metrics_address, settings.metrics_port)
    for worker, port in enumerate(settings.grpc_ports):
        check_listenable(name_grpc_port(worker), settings.bind_address, port)


def check_tls(settings: StackSettings) -> Certificate | None:
    """Return the certificate if there is to be TLS.

    Raises:
        ConfigurationError: it cannot be used; the message names the variable.
    """
    if settings.tls is None:
        return None
    check_permissions(settings.tls)
    return read_certificate(settings.tls)


def check_database(urls: DatabaseUrls) -> None:
    """Raise StackError, naming the variable, if no connection to the database can be made within about 5 s."""
    for variable, url in (("DATABASE_URL", urls.server), ("OWNER_DATABASE_URL", urls.owner)):
        try:
            psycopg2.connect(url, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            raise StackError(hide_password(f"{variable}={url} cannot be reached: {reason}")) from None
