"""Our programs, run as a user would run them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process with `variables` in place of all our own settings."""
    ours = (
        "DATABASE_URL",
        "GRPC_PORT",
        "HTTP_PORT",
        "ENVOY_ADMIN_PORT",
        "DATA_DIR",
        "BIND_ADDRESS",
        "LOG_LEVEL",
        "WORKERS",
        "DRAIN_NOTICE_SECONDS",
        "GRPC_REFLECTION",
    )
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return {**inherited, **variables}


def run_module(module: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m module` until it ends."""
    return subprocess.run(
        [sys.executable, "-m", module],
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


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
