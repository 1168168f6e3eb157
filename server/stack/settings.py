"""The settings of the stack, read from the environment."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.settings import MAX_PORT, ConfigurationError, check_database_url, check_server_variables, read_number

PROJECT_ROOT = Path(__file__).parents[2]

# As many server processes as cores keep all of them busy, up to what the embedded PostgreSQL's connections allow.
_MAX_WORKERS = 8
DEFAULT_WORKERS = min(_MAX_WORKERS, len(os.sched_getaffinity(0)))


class StackError(Exception):
    """The stack cannot start, or cannot go on; the text is one line for its user."""


@dataclass(frozen=True)
class Settings:
    """Where the parts listen and keep their data.

    `grpc_ports` has one port for each server process. `data_dir` is absolute. `database_url` is None when the stack is
    to run a PostgreSQL of its own.
    """

    http_port: int
    grpc_ports: tuple[int, ...]
    envoy_admin_port: int
    bind_address: str
    data_dir: Path
    database_url: str | None

    @property
    def connect_address(self) -> str:
        """The address at which this machine reaches what listens on `bind_address`, itself unless it means "any"."""
        address = ipaddress.ip_address(self.bind_address)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
        return self.bind_address


def without_password(database_url: str) -> str:
    """Return a URL or DSN, or a message that quotes one, fit to be shown: with `***` for the password."""
    hidden = re.sub(r"(://[^:/@\s]*:)\S*@", r"\1***@", database_url)
    return re.sub(r"(password=)('(?:[^'\\]|\\.)*'|[^\s&]*)", r"\1***", hidden)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from `environment`; a variable that is absent has its documented default.

    Raises ConfigurationError, naming the first variable at fault.
    """
    workers = read_number(environment, "WORKERS", DEFAULT_WORKERS, 1, _MAX_WORKERS)
    first = _port(environment, "GRPC_PORT", 50051)
    if first + workers - 1 > MAX_PORT:
        raise ConfigurationError(f"GRPC_PORT is {first}: {workers} WORKERS need ports up to {first + workers - 1}")
    ports = {
        "HTTP_PORT": _port(environment, "HTTP_PORT", 8080),
        **{worker_variable(number): first + number for number in range(workers)},
        "ENVOY_ADMIN_PORT": _port(environment, "ENVOY_ADMIN_PORT", 9901),
    }
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            raise ConfigurationError(f"{name} is {port}, and so is {taken[port]}: each needs a port of its own")
        taken[port] = name
    data_dir = environment.get("DATA_DIR", ".data")
    if not data_dir.strip():
        raise ConfigurationError(f"DATA_DIR is {data_dir!r}: it must name a directory")
    check_server_variables(environment)  # Here they can be refused before anything is started.
    database_url = environment.get("DATABASE_URL") or None
    if database_url:
        check_database_url(database_url)
    return Settings(
        http_port=ports["HTTP_PORT"],
        grpc_ports=tuple(range(first, first + workers)),
        envoy_admin_port=ports["ENVOY_ADMIN_PORT"],
        bind_address=_address(environment, "BIND_ADDRESS", "127.0.0.1"),
        data_dir=Path(data_dir).absolute(),
        database_url=database_url,
    )


def worker_variable(number: int) -> str:
    """Return how the port of worker `number`, counted from 0, is called in messages, as in GRPC_PORT+1."""
    return f"GRPC_PORT+{number}" if number else "GRPC_PORT"


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    # Not 0: "any free one" is of no use to those who have to find it.
    return read_number(environment, name, default, 1, MAX_PORT)


def _address(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name) or default
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}: it must be an IP address, such as 127.0.0.1 or ::") from None
