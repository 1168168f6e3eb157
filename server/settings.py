"""The settings of a server process, read from the environment. All but DATABASE_URL have a default."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from server.access.provider_settings import ProviderSettings
from server.auth_settings import read_auth, read_provider
from server.tracing.make import read_endpoint
from server.transport import CORE, TRANSPORTS
from server.transport.options import MAX_CONNECTIONS
from server.variables import SHARES, ConfigurationError, read_number, read_word
from storage.connection import check_url, count_hosts

MAX_PORT = 65535

_SHARE = re.compile(r"1(\.0{1,4})?|0\.(?!0+$)[0-9]{1,4}")

TLS_VARIABLES = ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA")
"""What names the files of TLS, in the order of `TlsFiles`."""


class TlsFiles(NamedTuple):
    """The files of TLS, all PEM."""

    certificate: Path
    """The certificate, and after it those that lead to its issuer."""
    key: Path
    client_ca: Path | None
    """Who issues the certificates that callers must have; None if they need none."""


class Settings(NamedTuple):
    """The configuration of one server process."""

    database_url: str
    """A libpq connection URI or string."""
    bind_address: str
    """The address to listen on."""
    grpc_port: int
    """The port to listen on. 0 means any free one."""
    log_level: int
    """The lowest level that is logged, as a number of `logging`."""
    drain_notice: int = 0
    """Seconds for which new calls are still accepted after SIGTERM, while health reports NOT_SERVING."""
    reflection: bool | None = None
    """Whether clients may ask for the protos by reflection. None means while no credentials are required."""
    ignore_unknown_fields: bool = False
    """Whether unknown fields of JSON are ignored rather than refused."""
    retention_days: int = 0
    """How old events become before they are erased. 0 means that they stay."""
    transport: str = CORE
    """What carries the calls, one of `TRANSPORTS`."""
    tls: TlsFiles | None = None
    """What `grpc_port` uses TLS with."""
    plaintext: bool = False
    """Whether a port may do without TLS although other machines reach it."""
    envoy_socket: Path | None = None
    """The Unix socket for Envoy. If there is none, Envoy uses `grpc_port`, and so may others call what is for Envoy."""
    auth: bool | None = None
    """Whether callers need credentials. None means if there has ever been a key, or an identity provider is set."""
    provider: ProviderSettings | None = None
    """The identity provider whose tokens are accepted."""
    read_database_url: str = ""
    """The same of a standby for searches, lists and exports, or "" if there is none."""
    access_log: int = 0
    """Of how many in `SHARES` calls that succeed the log tells. It tells of each that fails."""
    tracing: bool = False
    """Whether calls are traced."""
    max_connections: int = MAX_CONNECTIONS
    """How many connections are accepted. No variable sets it: it follows from the limit on open files."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that `environment` asks for.

    Raises:
        ConfigurationError: a variable is missing or malformed.
    """
    url = environment.get("DATABASE_URL", "")
    if not url:
        raise ConfigurationError("DATABASE_URL is not set: it names the database, as in postgresql://user@host/name")
    check_database_url("DATABASE_URL", url)
    grpc_port = read_number(environment, "GRPC_PORT", 50051, 0, MAX_PORT)
    return Settings(
        database_url=url,
        bind_address=environment.get("BIND_ADDRESS") or "127.0.0.1",
        grpc_port=grpc_port,
        log_level=_read_log_level(environment),
        drain_notice=_read_drain_notice(environment),
        reflection=_read_reflection(environment),
        ignore_unknown_fields=_read_unknown_fields(environment),
        retention_days=_read_retention(environment),
        transport=_read_transport(environment),
        tls=read_tls_files(environment),
        plaintext=read_plaintext(environment),
        envoy_socket=_read_envoy_socket(environment, grpc_port),
        auth=read_auth(environment),
        provider=read_provider(environment),
        read_database_url=_read_read_database_url(environment),
        access_log=read_access_log(environment),
        tracing=read_endpoint(environment) != "",
    )


def check_server_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigurationError if a variable is malformed that only servers read, unlike ports and DATABASE_URL."""
    for read in (
        _read_log_level,
        _read_drain_notice,
        _read_reflection,
        _read_retention,
        _read_unknown_fields,
        _read_transport,
        read_auth,
        read_provider,
        _read_read_database_url,
        read_access_log,
        read_endpoint,
    ):
        read(environment)


def _read_read_database_url(environment: Mapping[str, str]) -> str:
    url = environment.get("READ_DATABASE_URL", "")
    if url:
        check_database_url("READ_DATABASE_URL", url)
        if count_hosts(url) > 1:
            raise ConfigurationError(
                "READ_DATABASE_URL names several hosts: it must name one, as each may lag differently"
            )
    return url


def check_database_url(variable: str, url: str) -> None:
    """Raise ConfigurationError, naming `variable`, if libpq cannot parse `url`. Does not connect."""
    try:
        check_url(url)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is malformed: {error}") from None


def read_tls_files(environment: Mapping[str, str]) -> TlsFiles | None:
    """Return the files of TLS, by absolute paths, or None if it is off.

    Raises:
        ConfigurationError: one of them is given without another that it needs.
    """
    certificate, key = environment.get("TLS_CERT"), environment.get("TLS_KEY")
    client_ca = environment.get("TLS_CLIENT_CA")
    if certificate and key:
        return TlsFiles(
            Path(certificate).absolute(), Path(key).absolute(), Path(client_ca).absolute() if client_ca else None
        )
    if certificate or key or client_ca:
        given = "TLS_CERT" if certificate else "TLS_KEY" if key else "TLS_CLIENT_CA"
        missing = "TLS_KEY" if certificate else "TLS_CERT"
        raise ConfigurationError(f"{given} is set and {missing} is not: TLS needs TLS_CERT and TLS_KEY")
    return None


def read_plaintext(environment: Mapping[str, str]) -> bool:
    """Return whether a port may do without TLS although other machines reach it."""
    return read_word(environment, "PLAINTEXT", ("off", "on")) == "on"


def read_access_log(environment: Mapping[str, str]) -> int:
    """Return of how many in `SHARES` calls that succeed the log tells."""
    text = environment.get("ACCESS_LOG") or "off"
    if text == "off":
        return 0
    if not _SHARE.fullmatch(text):
        raise ConfigurationError(f"ACCESS_LOG is {text!r}: it must be off, or a share from 0.0001 to 1, such as 0.01")
    return round(float(text) * SHARES)


def _read_envoy_socket(environment: Mapping[str, str], grpc_port: int) -> Path | None:
    # Named after the port, so that each of several workers in one directory has its own.
    text = environment.get("ENVOY_SOCKET") or f"run/{grpc_port}.sock"
    return None if text == "off" else Path(text)


def _read_drain_notice(environment: Mapping[str, str]) -> int:
    return read_number(environment, "DRAIN_NOTICE_SECONDS", 2, 0, 60)


def _read_reflection(environment: Mapping[str, str]) -> bool | None:
    number = read_number(environment, "GRPC_REFLECTION", 1, 0, 1)
    return bool(number) if environment.get("GRPC_REFLECTION") else None


def _read_retention(environment: Mapping[str, str]) -> int:
    return read_number(environment, "RETENTION_DAYS", 0, 0, 36_500)


def _read_unknown_fields(environment: Mapping[str, str]) -> bool:
    return read_word(environment, "UNKNOWN_FIELDS", ("refuse", "ignore")) == "ignore"


def _read_transport(environment: Mapping[str, str]) -> str:
    return read_word(environment, "GRPC_TRANSPORT", TRANSPORTS)


def _read_log_level(environment: Mapping[str, str]) -> int:
    text = environment.get("LOG_LEVEL") or "INFO"
    levels = {name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")}
    if text.upper() not in levels:
        raise ConfigurationError(f"LOG_LEVEL is {text!r}: it must be one of {', '.join(levels)}")
    return levels[text.upper()]
