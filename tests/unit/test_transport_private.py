"""What `server.transport` uses of grpcio's private parts, and what happens when grpcio is another one."""

import ast
import asyncio
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # in native code, and untyped

from server.transport import CORE, make
from server.transport.make import TESTED_VERSION, make_server
from tests.support.processes import ROOT
from tests.support.transport import SIZES

PRIVATE = {
    "BatchOperationEvent": {"batch_operations", "completion_type", "success", "tag"},
    "Call": {"cancel", "peer", "start_server_batch"},
    "CallDetails": {"deadline", "method"},
    "CallError": {"ok"},
    "CompletionQueue": {"poll", "shutdown"},
    "CompletionType": {"queue_shutdown", "queue_timeout"},
    "ConnectivityEvent": {"completion_type"},
    "ReceiveCloseOnServerOperation": set[str](),
    "ReceiveMessageOperation": {"message"},
    "RequestCallEvent": {"call", "call_details", "completion_type", "invocation_metadata", "success", "tag"},
    "SendInitialMetadataOperation": set[str](),
    "SendMessageOperation": set[str](),
    "SendStatusFromServerOperation": set[str](),
    "Server": {
        "add_http2_port",
        "cancel_all_calls",
        "destroy",
        "register_completion_queue",
        "request_call",
        "shutdown",
        "start",
    },
    "ServerShutdownEvent": {"completion_type", "tag"},
}
"""Each class of `grpc._cython.cygrpc` with the members that are used. Some come as events and are not named in code."""


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_class_is_there_with_its_members(name: str) -> None:
    assert hasattr(cygrpc, name), f"grpcio {grpc.__version__} has no {name}: use GRPC_TRANSPORT=aio"
    gone = {member for member in PRIVATE[name] if not hasattr(getattr(cygrpc, name), member)}
    assert not gone, f"{name} of grpcio {grpc.__version__} has no {gone}: use GRPC_TRANSPORT=aio"


def uses(file: Path) -> Iterator[str]:
    """Yield the names that a file takes from cygrpc."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cygrpc":
            yield node.attr
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("grpc._"):
            yield from (f"{file.name} imports {each.name}" for each in node.names)


def test_only_one_module_uses_private_names_and_only_these() -> None:
    found = {name for file in (ROOT / "server").rglob("*.py") for name in uses(file)}
    assert found - set(PRIVATE) == {"core.py imports cygrpc"}


def test_the_tested_version_is_the_pinned_and_the_installed_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"grpcio=={TESTED_VERSION}" in project["dependencies"]
    assert f"grpcio=={TESTED_VERSION} \\" in (ROOT / "locks" / "server.txt").read_text().splitlines()
    assert grpc.__version__ == TESTED_VERSION


def test_with_another_grpcio_the_stock_transport_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(make, "TESTED_VERSION", "1.0.0")

    async def check() -> Any:
        return make_server(CORE, SIZES)

    assert isinstance(asyncio.run(check()), grpc.aio.Server)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert vars(record)["tested"] == "1.0.0"
    assert vars(record)["installed"] == grpc.__version__
