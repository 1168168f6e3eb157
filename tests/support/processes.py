"""Our programs, run as a user would run them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FIRST_PORT = 10_000
_RANDOM = random.SystemRandom()  # Hypothesis seeds the common one, so that every run would begin with the same ports.


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process with `variables` in place of all our own settings."""
    ours = (
        "DATABASE_URL",
        "GRPC_PORT",
        "HTTP_PORT",
        "OWNER_DATABASE_URL",
        "READ_DATABASE_URL",
        "SERVER_ROLE",
        "DATA_DIR",
        "BIND_ADDRESS",
        "LOG_LEVEL",
        "ACCESS_LOG",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "METRICS_ADDRESS",
        "METRICS_PORT",
        "WORKERS",
        "DRAIN_NOTICE_SECONDS",
        "GRPC_REFLECTION",
        "RETENTION_DAYS",
        "UNKNOWN_FIELDS",
        "TLS_CERT",
        "TLS_KEY",
        "TLS_CLIENT_CA",
        "PLAINTEXT",
        "CORS_ORIGINS",
        "AUTH",
        "JWKS_FILE",
        "JWKS_URL",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
    )
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    # By default a worker would make a socket in the project's root, and stacks would share a port.
    return {**inherited, "ENVOY_SOCKET": "off", "METRICS_PORT": "off", **variables}


def run_module(module: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m module` with these arguments until it ends."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextlib.contextmanager
def started_module(module: str, **variables: str) -> "Iterator[subprocess.Popen[str]]":
    """Start `python -m module`, and kill it at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.communicate()


def free_port(*, following: int = 0) -> int:
    """Return a port that was free a moment ago, as were the `following` ones after it.

    The kernel gives no such port to an outgoing connection. Otherwise it might, while the process that listens on the
    port is being restarted.
    """
    while True:
        first = _RANDOM.randrange(_FIRST_PORT, _first_ephemeral_port() - following)
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for port in range(first, first + following + 1):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def _first_ephemeral_port() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def refuses_connections(port: int) -> bool:
    """Return whether nothing listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def variables_of(pid: int) -> set[str]:
    """Return the names of the environment variables of a process."""
    content = Path(f"/proc/{pid}/environ").read_bytes()
    return {each.partition(b"=")[0].decode() for each in content.split(b"\0")}
