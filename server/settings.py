"""What the environment says. Each variable has a good default, save DATABASE_URL."""

import logging
import os
from collections.abc import Mapping
from typing import NamedTuple

import psycopg2
import psycopg2.extensions


class ConfigurationError(Exception):
    """A variable of the environment cannot be used. The message is one line that names it."""


class Settings(NamedTuple):
    """The configuration of one server process."""

    database_url: str
    """The database, as libpq takes it."""
    bind_address: str
    """The address to listen on."""
    grpc_port: int
    """The port to listen on; 0 takes a free one."""
    log_level: int
    """The least level that is logged, as `logging` counts it."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` asks for.

    Raises:
        ConfigurationError: a variable is missing or malformed.
    """
    url = environment.get("DATABASE_URL", "")
    if not url:
        raise ConfigurationError("DATABASE_URL is not set: it names the database, as in postgresql://user@host/name")
    check_database_url(url)
    return Settings(
        database_url=url,
        bind_address=environment.get("BIND_ADDRESS") or "127.0.0.1",
        grpc_port=read_port(environment, "GRPC_PORT", 50051),
        log_level=read_log_level(environment),
    )


def check_database_url(url: str) -> None:
    """Raises ConfigurationError if libpq cannot make sense of `url`. Does not connect."""
    try:
        psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError as error:
        # libpq quotes the whole URL, password included, when it complains.
        reason = str(error).strip().replace(url, "…")
        raise ConfigurationError(f"DATABASE_URL is malformed: {reason}") from None


def read_port(environment: Mapping[str, str], name: str, default: int) -> int:
    """The port that the variable `name` holds, 0 to 65535; `default` if it is not set or empty."""
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ConfigurationError(f"{name} is {text!r}: it must be a port number from 0 to 65535")
    return int(text)


def read_log_level(environment: Mapping[str, str]) -> int:
    """The level that LOG_LEVEL names, INFO if it is not set or empty."""
    text = environment.get("LOG_LEVEL") or "INFO"
    levels = {name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")}
    if text.upper() not in levels:
        raise ConfigurationError(f"LOG_LEVEL is {text!r}: it must be one of {', '.join(levels)}")
    return levels[text.upper()]
