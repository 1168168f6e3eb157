"""The settings of a server process, read from the environment. All but DATABASE_URL have a default."""

import errno
import logging
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

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
    reflection: bool = True
    """Whether clients may ask for the protos by reflection."""
    ignore_unknown_fields: bool = False
    """Whether unknown fields of JSON are ignored rather than refused."""
    retention_days: int = 0
    """How old events become before they are erased. 0 means that they stay."""
    transport: str = CORE
    """What carries the calls, one of `TRANSPORTS`."""
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
        retention_days=_read_retention(environment),
        transport=_read_transport(environment),
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


def format_host(address: str) -> str:
    """Return an IP address in the form for URLs: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _read_drain_notice(environment: Mapping[str, str]) -> int:
    return read_number(environment, "DRAIN_NOTICE_SECONDS", 2, 0, 60)


def _read_reflection(environment: Mapping[str, str]) -> bool:
    return bool(read_number(environment, "GRPC_REFLECTION", 1, 0, 1))


def _read_retention(environment: Mapping[str, str]) -> int:
    return read_number(environment, "RETENTION_DAYS", 0, 0, 36_500)


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
