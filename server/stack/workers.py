"""The workers: the server processes, each on a port and on a Unix socket of its own."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.stack.child_process import Command
from server.stack.settings import StackSettings
from server.stack.supervised_process import SupervisedProcess


def make_workers(
    settings: StackSettings, environment: Mapping[str, str], run: Path, dependencies: Sequence[SupervisedProcess]
) -> list[SupervisedProcess]:
    """Return the workers, ready to be started, named server-1, server-2, and so on.

    Args:
        settings: The settings of the stack.
        environment: The environment of each worker, except for GRPC_PORT and ENVOY_SOCKET.
        run: The directory for Unix sockets.
        dependencies: The processes that have to be ready before a worker starts.
    """
    return [
        SupervisedProcess(
            Command(
                name=f"server-{number}",
                arguments=[sys.executable, "-m", "server"],
                environment={**environment, "GRPC_PORT": str(port), "ENVOY_SOCKET": str(name_socket(run, port))},
                # On SIGTERM a worker first gives a load balancer time to notice. Envoy has been stopped by then.
                stop_signals=[(signal.SIGINT, 15.0)],
                # On SIGINT, Python prints a traceback until the worker has installed its own handler.
                startup_stop_signal=signal.SIGTERM,
            ),
            partial(find_fault, f"unix:{quote(os.fsencode(name_socket(run, port)))}"),
            dependencies=dependencies,
        )
        for number, port in enumerate(settings.grpc_ports, 1)
    ]


def name_socket(run: Path, port: int) -> Path:
    """Return the Unix socket for Envoy of the worker with that port."""
    return run / f"{port}.sock"


def find_fault(target: str) -> str | None:
    """Return why the worker at `target`, as in `unix:/run/50051.sock`, is not ready, or None if it is."""
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError as error:
            return f"its health check fails: {error.code().name}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return "its health check says NOT_SERVING"
    return None
