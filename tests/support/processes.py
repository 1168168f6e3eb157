"""Programs of ours as a user starts them."""

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
    """The environment of this process without any setting of ours, and with `variables`."""
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
    """Runs `python -m module` to its end."""
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
    """Starts `python -m module`; kills it in the end if it still runs."""
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
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
