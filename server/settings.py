"""The settings of a server process, read from the environment. All but DATABASE_URL have a default."""

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from server.access.provider import Provider, ProviderSettings
from server.access.provider import check_url as check_jwks_url
from server.transport import CORE, TRANSPORTS
from server.transport.options import MAX_CONNECTIONS
from storage.connection import check_url

MAX_PORT = 65535


class ConfigurationError(Exception):
    """An environment variable that cannot be used. The message is one line that names it."""


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
    transport: str = CORE
    """What carries the calls, one of `TRANSPORTS`."""
    auth: bool | None = None
    """Whether callers need credentials. None means if there has ever been a key, or an identity provider is set."""
    provider: ProviderSettings | None = None
    """The identity provider whose tokens are accepted."""
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
    return Settings(
        database_url=url,
        bind_address=environment.get("BIND_ADDRESS") or "127.0.0.1",
        grpc_port=read_number(environment, "GRPC_PORT", 50051, 0, MAX_PORT),
        log_level=_read_log_level(environment),
        drain_notice=_read_drain_notice(environment),
        reflection=_read_reflection(environment),
        ignore_unknown_fields=_read_unknown_fields(environment),
        transport=_read_transport(environment),
        auth=read_auth(environment),
        provider=read_provider(environment),
    )


def check_server_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigurationError if a variable is malformed that only servers read, unlike ports and DATABASE_URL."""
    for read in (
        _read_log_level,
        _read_drain_notice,
        _read_reflection,
        _read_unknown_fields,
        _read_transport,
        read_auth,
        read_provider,
    ):
        read(environment)


def check_database_url(variable: str, url: str) -> None:
    """Raise ConfigurationError, naming `variable`, if libpq cannot parse `url`. Does not connect."""
    try:
        check_url(url)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is malformed: {error}") from None


def read_number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return the number in the variable `name`, or `default` if it is absent or empty.

    Raises:
        ConfigurationError: it is not a number from `least` to `most`.
    """
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigurationError(f"{name} is {text!r}: it must be a number from {least} to {most}")
    return int(text)


def check_listenable(variable: str, address: str, port: int) -> None:
    """Raise ConfigurationError, naming `variable`, if `port` cannot be listened on at `address`, an IP or a name."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigurationError(f"BIND_ADDRESS={address} is not an address: {error.strerror}") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # As servers do, so that connections in TIME_WAIT do not matter.
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigurationError(f"BIND_ADDRESS={address} is not an address of this machine") from None
            hint = ": stop what listens there, or choose another" if error.errno == errno.EADDRINUSE else ""
            raise ConfigurationError(
                f"{variable}={port} cannot be listened on at {address}: {error.strerror}{hint}"
            ) from None


def read_auth(environment: Mapping[str, str]) -> bool | None:
    """Return whether callers need credentials, or None if that is not said."""
    text = environment.get("AUTH") or ""
    if text not in ("", "on", "off"):
        raise ConfigurationError(f"AUTH is {text!r}: it must be on or off")
    return text == "on" if text else None


def read_provider(environment: Mapping[str, str]) -> ProviderSettings | None:
    """Return the identity provider, or None if there is none."""
    file, url = environment.get("JWKS_FILE") or "", environment.get("JWKS_URL") or ""
    issuer, audience = environment.get("JWT_ISSUER") or "", environment.get("JWT_AUDIENCE") or ""
    if not (file or url):
        if issuer or audience:
            raise ConfigurationError("JWT_ISSUER or JWT_AUDIENCE is set, and neither JWKS_FILE nor JWKS_URL is")
        return None
    if file and url:
        raise ConfigurationError("JWKS_FILE and JWKS_URL are both set: the keys come from one of them")
    for name, value in (("JWT_ISSUER", issuer), ("JWT_AUDIENCE", audience)):
        if not value:
            raise ConfigurationError(f"{name} is not set: tokens are accepted only from one issuer, for one audience")
    if url:
        try:
            check_jwks_url(url)
        except ValueError as error:
            raise ConfigurationError(f"JWKS_URL is {url!r}: {error}") from None
    return ProviderSettings(issuer, audience, file, url)


def make_provider(settings: ProviderSettings | None) -> Provider | None:
    """Return the identity provider, or None if there is none.

    Raises:
        ConfigurationError: its file cannot be used.
    """
    try:
        return None if settings is None else Provider(settings)
    except ValueError as error:
        assert settings is not None
        raise ConfigurationError(f"JWKS_FILE={settings.jwks_file} cannot be used: {error}") from None


def check_open_address(address: str, auth: bool | None, *, is_on: bool) -> None:
    """Raise ConfigurationError if anyone on a network could read and write everything, and nobody has said so.

    Args:
        address: the address that is listened on.
        auth: what AUTH says, if it says anything.
        is_on: whether callers need credentials.
    """
    if not is_on and auth is None and not _is_loopback(address):
        raise ConfigurationError(
            f"BIND_ADDRESS={address} is open to others, and nobody needs a key yet: make one with "
            "`python -m server.access create`, or set AUTH=on; AUTH=off lets anyone read and write everything"
        )


def _is_loopback(address: str) -> bool:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)}
    except OSError:
        return True  # It cannot be listened on, which has its own message.
    return all(ipaddress.ip_address(each).is_loopback for each in found)


def format_host(address: str) -> str:
    """Return an IP address in the form for URLs: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _read_drain_notice(environment: Mapping[str, str]) -> int:
    return read_number(environment, "DRAIN_NOTICE_SECONDS", 2, 0, 60)


def _read_reflection(environment: Mapping[str, str]) -> bool | None:
    number = read_number(environment, "GRPC_REFLECTION", 1, 0, 1)
    return bool(number) if environment.get("GRPC_REFLECTION") else None


def _read_unknown_fields(environment: Mapping[str, str]) -> bool:
    text = environment.get("UNKNOWN_FIELDS") or "refuse"
    if text not in ("refuse", "ignore"):
        raise ConfigurationError(f"UNKNOWN_FIELDS is {text!r}: it must be refuse or ignore")
    return text == "ignore"


def _read_transport(environment: Mapping[str, str]) -> str:
    name = environment.get("GRPC_TRANSPORT") or CORE
    if name not in TRANSPORTS:
        raise ConfigurationError(f"GRPC_TRANSPORT is {name!r}: it must be one of {', '.join(TRANSPORTS)}")
    return name


def _read_log_level(environment: Mapping[str, str]) -> int:
    text = environment.get("LOG_LEVEL") or "INFO"
    levels = {name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")}
    if text.upper() not in levels:
        raise ConfigurationError(f"LOG_LEVEL is {text!r}: it must be one of {', '.join(levels)}")
    return levels[text.upper()]
