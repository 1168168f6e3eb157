"""`python -m server check`: what is wrong with a deployment, in words."""

import contextlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import grpc
from cryptography import x509
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from server import open_files
from server.addresses import format_host
from server.ports import check
from server.settings import Settings
from server.tls import read_certificate
from server.transport.make import TESTED_VERSION
from server.transport.options import MAX_CONNECTIONS
from server.variables import ConfigurationError
from storage import DatabaseUnavailable, PrivilegesMissing, UnfitDatabase
from storage.access_keys import list_keys
from storage.availability import MAX_SKEW_SECONDS
from storage.cluster import check_nodes, find_slow_recovery, is_cluster
from storage.commit_waits import FIND_OLDEST_WAIT, PATIENCE_SECONDS
from storage.connection import connect
from storage.copier import SESSION
from storage.replica import MAX_AGE_SECONDS, measure_age
from storage.schema import find_pending

ENVOY_VERSION = "1.40"
"""Of which `envoy.yaml` was tested."""

_DESCRIPTORS = Path("generated/envoy.binpb")
_INSTALLED = Path(__file__).parent / "envoy" / _DESCRIPTORS

_SOON_DAYS = 30

OK, WARNING, ERROR = "ok", "warning", "error"


class Finding(NamedTuple):
    """What was found out about one thing."""

    level: str
    """`OK`, `WARNING`, or `ERROR` for what keeps the service from working."""
    text: str
    """A line for people."""


def find(settings: Settings, services: list[ServiceDescriptor]) -> Iterator[Finding]:
    """Yield what is found out about a worker with these settings, and about what it works with.

    Args:
        settings: those of the worker.
        services: what it serves.
    """
    if _is_running(settings):
        yield Finding(OK, "a worker with these settings runs, and serves")
    else:
        yield from _report(lambda: check(settings), "the addresses and certificates can be used")
    yield from _look_at_certificate(settings)
    yield from _look_at_open_files()
    yield from _look_at_database(settings.database_url)
    yield from _look_at_replica(settings)
    yield from _look_at_keys(settings)
    yield from _look_at_packages()
    yield from _look_at_envoy(services)


def _is_running(settings: Settings) -> bool:
    """Return whether a worker serves on the socket or the port of these settings."""
    targets = [f"{format_host(settings.bind_address)}:{settings.grpc_port}"]
    if settings.envoy_socket is not None:
        targets.insert(0, f"unix:{quote(str(settings.envoy_socket.absolute()))}")
    return any(map(_serves, targets))


def _serves(target: str) -> bool:
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


def _report(function: Callable[[], object], good: str) -> Iterator[Finding]:
    """Yield what becomes of a check that says by an exception what is wrong."""
    try:
        function()
    except (ConfigurationError, UnfitDatabase, PrivilegesMissing) as error:
        yield Finding(ERROR, str(error))
    except DatabaseUnavailable as error:
        yield Finding(ERROR, f"DATABASE_URL: the database cannot be reached: {error}")
    else:
        yield Finding(OK, good)


def _look_at_certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls is None:
        return
    try:
        certificate = x509.load_pem_x509_certificate(read_certificate(settings.tls).chain)
    except ConfigurationError as error:
        yield Finding(ERROR, str(error))
        return
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    days = (end - datetime.now(UTC)).days
    if begin > datetime.now(UTC):
        yield Finding(ERROR, f"the certificate is valid from {begin:%F} on, and not yet")
    elif days < 0:
        yield Finding(ERROR, f"the certificate has expired, on {end:%F}")
    else:
        yield Finding(WARNING if days < _SOON_DAYS else OK, f"the certificate expires in {days} days, on {end:%F}")


def _look_at_open_files() -> Iterator[Finding]:
    try:
        connections = open_files.limit_connections(open_files.raise_limit())
    except ConfigurationError as error:
        yield Finding(ERROR, str(error))
        return
    level = OK if connections == MAX_CONNECTIONS else WARNING
    yield Finding(level, f"the limit on open files allows {connections:,} connections")


def _look_at_database(url: str) -> Iterator[Finding]:
    pending: list[str] = []
    findings = list(_report(lambda: pending.extend(find_pending(url)), "the database can be used"))
    yield from findings
    if findings[0].level != OK:
        return
    if pending:
        yield Finding(ERROR, f"the schema lacks {', '.join(pending)}: run `python -m storage.migrate`")
    with contextlib.closing(connect(url, "analytics check", SESSION)) as connection, connection.cursor() as cursor:
        yield from _look_at_settings(cursor)
        if is_cluster(cursor):
            findings = list(_report(lambda: check_nodes(cursor), "the nodes of the cluster can be used"))
            yield from findings
            if findings[0].level == OK:
                yield from (Finding(WARNING, line) for line in find_slow_recovery(cursor))


def _look_at_settings(cursor: Any) -> Iterator[Finding]:
    for name, what in (
        ("synchronous_commit", "an event that is acknowledged might be lost"),
        ("fsync", "a power failure might lose or damage everything"),
        ("full_page_writes", "a power failure might damage what is stored"),
    ):
        cursor.execute("SELECT current_setting(%s)", (name,))
        (value,) = cursor.fetchone()
        is_on = value in ("on", "remote_apply", "remote_write", "local")
        yield Finding(OK, f"{name} is {value}") if is_on else Finding(ERROR, f"{name} is {value}: {what}")
    cursor.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean")
    is_standby, is_read_only = cursor.fetchone()
    if is_standby or is_read_only:
        yield Finding(ERROR, f"the database is {'a standby' if is_standby else 'read-only'}: no event can be stored")
    yield from _look_at_standbys(cursor)
    before = time.time()
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    (clock,) = cursor.fetchone()
    seconds = max(before - clock, clock - time.time(), 0.0)
    level = OK if seconds <= MAX_SKEW_SECONDS else ERROR
    yield Finding(level, f"this machine's clock and the database's differ by {seconds:.1f} s")


def _look_at_standbys(cursor: Any) -> Iterator[Finding]:
    """Yield whether a standby answers, if commits wait for one."""
    cursor.execute(
        "SELECT current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication),"  # noqa: S608 - a constant
        f" coalesce(extract(epoch FROM clock_timestamp()) - ({FIND_OLDEST_WAIT}), 0)"
    )
    names, connected, seconds = cursor.fetchone()
    if names and (not connected or seconds > PATIENCE_SECONDS):
        yield Finding(ERROR, f"commits wait for a synchronous standby, and none of {names} answers: no event is stored")
    elif names:
        yield Finding(OK, f"commits wait for standbys, as {names} says, and {connected} are connected")


def _look_at_replica(settings: Settings) -> Iterator[Finding]:
    """Yield whether READ_DATABASE_URL names a standby of the database, and how far it is behind."""
    if not settings.read_database_url:
        return
    try:
        seconds = measure_age(settings.read_database_url, settings.database_url)
    except DatabaseUnavailable as error:
        yield Finding(WARNING, f"READ_DATABASE_URL: {error}: reads go to DATABASE_URL")
        return
    if seconds is None:
        yield Finding(
            WARNING, f"READ_DATABASE_URL: it is over {MAX_AGE_SECONDS:.0f} s behind: reads go to DATABASE_URL"
        )
    else:
        yield Finding(OK, f"the standby of READ_DATABASE_URL is {seconds:.1f} s behind at most")


def _look_at_keys(settings: Settings) -> Iterator[Finding]:
    if settings.auth is False:
        yield Finding(WARNING, "AUTH=off: whoever reaches a port reads and writes everything")
        return
    try:
        keys = list_keys(settings.database_url)
    except Exception:  # noqa: BLE001 - whatever keeps them from being read is reported with the database
        yield Finding(WARNING, "the keys cannot be read, as the database cannot be used")
        return
    now = datetime.now(UTC)
    valid = [each for each in keys if each.revoked_at is None and (each.expires_at is None or each.expires_at > now)]
    soon = [each.id for each in valid if each.expires_at and (each.expires_at - now).days < _SOON_DAYS]
    if not (keys or settings.auth or settings.provider):
        yield Finding(WARNING, "there is no key yet, so callers need none: see docs/access.md")
    elif not (valid or settings.provider):
        yield Finding(ERROR, "callers need credentials, and no key is valid")
    else:
        yield Finding(OK, f"callers need credentials; {len(valid)} keys are valid")
    if soon:
        yield Finding(WARNING, f"within {_SOON_DAYS} days expire: {', '.join(soon[:10])}")


def _look_at_packages() -> Iterator[Finding]:
    version = importlib.metadata.version("grpcio")
    if version == TESTED_VERSION:
        yield Finding(OK, f"grpcio is {version}")
    else:
        yield Finding(WARNING, f"grpcio is {version}, and {TESTED_VERSION} was tested: the stock transport is used")


def _look_at_envoy(services: list[ServiceDescriptor]) -> Iterator[Finding]:
    """Yield what is found out about the Envoy of this environment, and about the routes in the working directory."""
    program = shutil.which("envoy") or shutil.which("envoy", path=str(Path(sys.executable).parent))
    if program is None:
        yield Finding(WARNING, "there is no envoy on the PATH: it cannot be looked at from here")
    else:
        command = [program, "--version"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - from the PATH
        found = re.search(r"/(\d+\.\d+\.\d+)/", ran.stdout)
        version = found[1] if found else "unknown"
        level = OK if version.startswith(f"{ENVOY_VERSION}.") else WARNING
        yield Finding(level, f"Envoy is {version}; envoy.yaml was tested with {ENVOY_VERSION}")
    descriptors = _DESCRIPTORS if _DESCRIPTORS.exists() else _INSTALLED
    if not descriptors.exists():
        yield Finding(WARNING, f"{_DESCRIPTORS} is not in this directory: run this where Envoy is started")
        return
    described = {
        method.name
        for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file
        if ".http" in file.package
        for service in file.service
        for method in service.method
    }
    served = [method for service in services for method in service.methods if not method.client_streaming]
    missing = [method.name for method in served if method.name not in described]
    if missing:
        yield Finding(ERROR, f"{_DESCRIPTORS} is of another version than this worker: it lacks {', '.join(missing)}")
    else:
        yield Finding(OK, f"{_DESCRIPTORS} is what this worker serves")
