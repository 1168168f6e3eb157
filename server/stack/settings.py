"""The settings of the stack, read from the environment."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from server.access.provider_settings import ProviderSettings
from server.addresses import check_reach
from server.auth_settings import read_auth, read_provider
from server.settings import (
    MAX_PORT,
    TlsFiles,
    check_database_url,
    check_server_variables,
    read_access_log,
    read_plaintext,
    read_tls_files,
)
from server.tracing.make import read_endpoint, read_share
from server.variables import ConfigurationError, read_number

_INSTALLED = Path(__file__).parents[1] / "envoy"

FILES = _INSTALLED if _INSTALLED.exists() else Path(__file__).parents[2]
"""The directory with envoy.yaml and what it reads: in an installed package, or the root of a checkout."""

# A browser sends it in lower case, without a path, and without the port that is its scheme's default.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")

# One worker for each core keeps all cores busy. The limit is what the embedded PostgreSQL's connections allow.
_MAX_WORKERS = 8
DEFAULT_WORKERS = min(_MAX_WORKERS, len(os.sched_getaffinity(0)))


class StackError(Exception):
    """The stack cannot start or cannot continue; the message is one line for the user."""


class DatabaseUrls(NamedTuple):
    """One database under two roles. They are the same role if the operator gives only one URL."""

    server: str
    """As the role of the workers, which stores events and reads them."""
    owner: str
    """As the owner of the tables, which migrates them."""


@dataclass(frozen=True)
class StackSettings:
    """The addresses that the stack listens on, and where its data is."""

    http_port: int
    grpc_ports: tuple[int, ...]
    """One port for each worker."""
    bind_address: str
    data_dir: Path
    """An absolute path."""
    database_urls: DatabaseUrls | None
    """The database to use; None runs the embedded PostgreSQL."""
    tls: TlsFiles | None
    """What Envoy and the workers' ports use TLS with."""
    origins: tuple[str, ...] | None
    """The origins whose pages may read responses; None if any may."""
    metrics_port: int | None = None
    """Where Envoy shows the metrics, or None if on no port."""
    metrics_address: str = "127.0.0.1"
    auth: bool | None = None
    """What AUTH says, if it says anything."""
    provider: ProviderSettings | None = None
    """The identity provider, if there is one."""
    traces: str = ""
    """Where traces go, as a URL, or "" if calls are not traced."""
    traced_share: float = 1.0
    """Which share of the requests is traced whose callers do not say whether they are."""
    access_log: int = 0
    """Of how many in `SHARES` requests the logs tell, besides those that fail."""

    @property
    def connect_address(self) -> str:
        """The address at which this machine reaches what listens on `bind_address`."""
        address = ipaddress.ip_address(self.bind_address)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
        return self.bind_address


def hide_password(text: str) -> str:
    """Return `text`, a database URL or DSN or a message that quotes one, with `***` in place of the password."""
    hidden = re.sub(r"(://[^:/@\s]*:)\S*@", r"\1***@", text)
    return re.sub(r"(password=)('(?:[^'\\]|\\.)*'|[^\s&]*)", r"\1***", hidden)


def read_stack_settings(environment: Mapping[str, str]) -> StackSettings:
    """Return the settings in `environment`; a variable that is not set has its documented default.

    Raises:
        ConfigurationError: a variable is malformed; the message names the first such variable.
    """
    workers = read_number(environment, "WORKERS", DEFAULT_WORKERS, 1, _MAX_WORKERS)
    first = _read_port(environment, "GRPC_PORT", 50051)
    last = first + workers - 1
    if last > MAX_PORT:
        raise ConfigurationError(
            f"GRPC_PORT is {first}: {workers} WORKERS need the ports up to {last}, and the highest port is {MAX_PORT}"
        )
    metrics_port = None if environment.get("METRICS_PORT") == "off" else _read_port(environment, "METRICS_PORT", 9464)
    ports = {
        "HTTP_PORT": _read_port(environment, "HTTP_PORT", 8080),
        **({} if metrics_port is None else {"METRICS_PORT": metrics_port}),
        **{name_grpc_port(worker): first + worker for worker in range(workers)},
    }
    names: dict[int, str] = {}
    for name, port in ports.items():
        if port in names:
            raise ConfigurationError(f"{names[port]} and {name} are both {port}: each needs a port of its own")
        names[port] = name
    data_dir = environment.get("DATA_DIR", ".data")
    if not data_dir.strip():
        raise ConfigurationError(f"DATA_DIR is {data_dir!r}: it must name a directory")
    check_server_variables(environment)  # The server would find these errors only after PostgreSQL has started.
    bind_address = _read_address(environment, "BIND_ADDRESS", "127.0.0.1")
    tls = read_tls_files(environment)
    check_reach(bind_address, tls=tls is not None, plaintext=read_plaintext(environment))
    traces = read_endpoint(environment)
    return StackSettings(
        http_port=ports["HTTP_PORT"],
        grpc_ports=tuple(range(first, last + 1)),
        bind_address=bind_address,
        data_dir=Path(data_dir).absolute(),
        database_urls=_read_database_urls(environment),
        tls=tls,
        origins=_read_origins(environment),
        metrics_port=metrics_port,
        metrics_address=_read_address(environment, "METRICS_ADDRESS", "127.0.0.1"),
        auth=read_auth(environment),
        provider=read_provider(environment),
        traces=traces,
        traced_share=read_share(environment) if traces else 1.0,
        access_log=read_access_log(environment),
    )


def name_grpc_port(worker: int) -> str:
    """Return what messages call the port of a worker, counted from 0: GRPC_PORT, GRPC_PORT+1, and so on."""
    return f"GRPC_PORT+{worker}" if worker else "GRPC_PORT"


def _read_database_urls(environment: Mapping[str, str]) -> DatabaseUrls | None:
    server = environment.get("DATABASE_URL") or None
    owner = environment.get("OWNER_DATABASE_URL") or server
    if server is None or owner is None:
        if owner:
            raise ConfigurationError(
                "OWNER_DATABASE_URL is set and DATABASE_URL is not: set both, or `unset OWNER_DATABASE_URL` to use the "
                "PostgreSQL of `make run`"
            )
        return None
    check_database_url("DATABASE_URL", server)
    check_database_url("OWNER_DATABASE_URL", owner)
    return DatabaseUrls(server, owner)


def _read_origins(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    text = environment.get("CORS_ORIGINS")
    if not text:
        # Each key names the origins that it is for. Without keys, any page could read a developer's loopback.
        return None if environment.get("AUTH") == "on" else ()
    origins = tuple(each.strip() for each in text.split(","))
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"CORS_ORIGINS has {origin!r}: it must be a list of origins, such as https://app.example, with commas"
            )
    return origins


def _read_port(environment: Mapping[str, str], name: str, default: int) -> int:
    # Port 0, any free port, is refused: clients could not know which port it became.
    return read_number(environment, name, default, 1, MAX_PORT)


def _read_address(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name) or default
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}: it must be an IP address, such as 127.0.0.1 or ::") from None
