"""A worker's port and its Unix socket: what is served on which, and what keeps a worker from starting."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from server.transport import TRANSPORTS
from tests.support import requests
from tests.support.certificates import Issuer
from tests.support.in_process import Client, running_server
from tests.support.processes import free_port, run_module, started_module
from tests.support.until import until

PACKAGE = "/data_analytics.v1.http"
SMALL = f"{PACKAGE}.LeadAnalyticsService/CreateLeadAnalyticsEvent"
UPLOAD = f"{PACKAGE}.upload.AnalyticsEventService/BatchCreateAnalyticsEvents"
SEARCH = f"{PACKAGE}.LeadAnalyticsService/SearchLeadAnalyticsEvents"
BODY = HttpBody(content_type="application/json", data=b"{}").SerializeToString()


def ask(channel: grpc.Channel, path: str) -> str:
    """Call an RPC for JSON, and return what its body says, or the code with which the call fails."""
    call: Any = channel.stream_unary(path)
    try:
        body: bytes = HttpBody.FromString(call(iter([BODY]), timeout=10)).data
        return body.decode()
    except grpc.RpcError as error:
        return str(error.code().name)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_for_envoy_is_served_on_its_socket_alone(
    database_url: str, customer: str, tmp_path: Path, transport: str
) -> None:
    # gRPC's address is a URI, and a path may have anything in it.
    path = tmp_path / "run 100% of" / "1.sock"
    with running_server(database_url, transport=transport, envoy_socket=path) as server:
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
        with grpc.insecure_channel(f"unix:{str(path).replace('%', '%25').replace(' ', '%20')}") as envoy:
            for method in (SMALL, UPLOAD, SEARCH):
                assert '"code":3' in ask(envoy, method)
                assert ask(server.client.channel, method) == "UNIMPLEMENTED"
            for client in (Client(envoy), server.client):
                assert client.is_serving()
                assert client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=10).created_at
    assert not path.exists()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_a_socket_envoy_is_served_on_the_port(database_url: str, transport: str) -> None:
    with running_server(database_url, transport=transport) as server:
        for method in (SMALL, UPLOAD, SEARCH):
            assert '"code":3' in ask(server.client.channel, method)


def start_in_vain(database_url: str, **variables: str) -> str:
    """Return the one line that a server says which cannot start."""
    ended = run_module("server", **{"DATABASE_URL": database_url, "GRPC_PORT": str(free_port()), **variables})
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"BIND_ADDRESS": "0.0.0.0"}, "BIND_ADDRESS=0.0.0.0 can be reached from other machines"),
        ({"BIND_ADDRESS": "::"}, "BIND_ADDRESS=:: can be reached from other machines"),
        (
            {"BIND_ADDRESS": "0.0.0.0", "PLAINTEXT": "on"},
            "ENVOY_SOCKET=off lets everybody who reaches BIND_ADDRESS=0.0.0.0 call what is for Envoy",
        ),
        ({"PLAINTEXT": "yes"}, "PLAINTEXT is 'yes': it must be off or on"),
        ({"TLS_CERT": "/nowhere.crt"}, "TLS_CERT is set and TLS_KEY is not"),
        ({"TLS_CLIENT_CA": "/nowhere.crt"}, "TLS_CLIENT_CA is set and TLS_CERT is not"),
        ({"TLS_CERT": "/nowhere.crt", "TLS_KEY": "/nowhere.key"}, "TLS_KEY=/nowhere.key cannot be read: No such file"),
    ],
)
def test_ports_that_would_be_unsafe_are_refused_before_anything_else(variables: dict[str, str], line: str) -> None:
    # There is no such database.
    assert start_in_vain("postgresql:///x?host=/nowhere", **variables).startswith(line)


def test_a_key_that_is_not_the_certificates_is_refused(tmp_path: Path) -> None:
    issuer = Issuer()
    certificate, _ = issuer.issue().write(tmp_path, "a")
    _, key = issuer.issue().write(tmp_path, "b")
    variables = {"TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    line = start_in_vain("postgresql:///x?host=/nowhere", **variables)
    assert line == f"TLS_KEY={key} is not the key of TLS_CERT={certificate}"
    key.chmod(0o644)
    line = start_in_vain("postgresql:///x?host=/nowhere", **variables)
    assert line == f"TLS_KEY={key} is open to every account: chmod o= {key}"


def test_a_socket_that_others_could_use_is_refused(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for path, reason in (
        (tmp_path / "open" / "a.sock", "others can enter the directory: chmod 700"),
        (tmp_path / "missing" / "too" / "a.sock", "the directory cannot be used: No such file or directory"),
        (tmp_path / ("a" * 107), "has more than 107 bytes"),
    ):
        line = start_in_vain(database_url, ENVOY_SOCKET=str(path))
        assert line.startswith(f"ENVOY_SOCKET={path}")
        assert reason in line


def test_a_socket_is_taken_over_from_the_dead_but_not_from_the_living(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    variables = {"DATABASE_URL": database_url, "ENVOY_SOCKET": str(path)}
    with (
        started_module("server", **variables, GRPC_PORT=str(free_port())) as process,
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        until(lambda: process.poll() is not None or ask(channel, SMALL) != "UNAVAILABLE")
        assert process.poll() is None
        line = start_in_vain(database_url, ENVOY_SOCKET=str(path))
        assert line == f"ENVOY_SOCKET={path} is in use: stop what listens there, or choose another"
        assert '"code":3' in ask(channel, SMALL)
