"""Whether callers need credentials: what a server says and checks at its start, and the command that makes keys."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from tests.support.access import create, make_key, revoke, run_command
from tests.support.database import query
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.postgres import make_passable
from tests.support.processes import free_port, run_module
from tests.support.refusals import refused
from tests.support.until import until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "content", [None, "", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AA", "kid": "x"}]}']
)
@pytest.mark.parametrize("module", ["server", "server.stack"])
def test_a_file_of_keys_that_cannot_be_used_is_named_at_the_start(
    own_database_url: str, tmp_path: Path, module: str, content: str | None
) -> None:
    make_passable(tmp_path)
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content)
    ended = run_module(
        module,
        DATABASE_URL=own_database_url,
        DATA_DIR=str(tmp_path / "data"),
        GRPC_PORT=str(free_port()),
        HTTP_PORT=str(free_port()),
        WORKERS="1",
        JWKS_FILE=str(file),
        JWT_ISSUER="i",
        JWT_AUDIENCE="a",
    )
    assert ended.returncode == 2
    assert f"JWKS_FILE={file} cannot be used" in ended.stderr.splitlines()[-1]


def test_the_first_key_turns_credentials_on_for_good(own_database_url: str, customer: str) -> None:
    with running_server(own_database_url, auth=None) as server:
        create(server, customer)
        key = make_key(own_database_url, "secret", customer)
        until(lambda: not _is_open(server, customer))
        create(server, customer, key)
        revoke(own_database_url, key)
    with running_server(own_database_url, auth=None) as server:
        with refused(UNAUTHENTICATED):
            create(server, customer)
        with refused(grpc.StatusCode.UNIMPLEMENTED):
            list_services(server.client)
    with running_server(own_database_url, auth=None, reflection=True) as server:
        assert list_services(server.client)


def _is_open(server: RunningServer, customer: str) -> bool:
    try:
        create(server, customer)
    except grpc.RpcError as error:
        assert error.code() == UNAUTHENTICATED  # noqa: PT017 - it is not known which call is refused
        return False
    return True


def list_services(client: Client) -> Any:

    request = ServerReflectionRequest(list_services="")
    (answer,) = ServerReflectionStub(client.channel).ServerReflectionInfo(iter([request]), timeout=5)
    return answer.list_services_response.service


def test_a_worker_says_at_its_start_whether_credentials_are_needed(own_database_url: str) -> None:
    def start(**variables: str) -> Any:
        return run_module("server", DATABASE_URL=own_database_url, GRPC_PORT=str(free_port()), **variables)

    ended = start(BIND_ADDRESS="0.0.0.0", PLAINTEXT="on", ENVOY_SOCKET="")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("BIND_ADDRESS=0.0.0.0 is open to others")


def test_the_command_says_that_there_are_no_keys(own_database_url: str) -> None:
    assert run_command(own_database_url, "list") == (0, "", "there are no keys\n")
    assert run_command(own_database_url, "list", "--customer", "c") == (0, "", "the customer has no keys\n")


def test_the_list_may_be_read_in_part(own_database_url: str, customer: str) -> None:
    for _ in range(3):
        make_key(own_database_url, "secret", customer, "--note", "x" * 60_000)
    command = f"{sys.executable} -m server.access list | head -c 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "DATABASE_URL": own_database_url},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_command_shows_a_secret_only_once(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--note", "for tests")
    secret = key.split("_")[2]
    _, out, _ = run_command(guarded_url, "list", "--customer", customer)
    assert out.startswith("_".join(key.split("_")[:2]))
    assert "for tests" in out
    assert secret not in out
    assert query(
        guarded_url, "SELECT access_key::text LIKE %s FROM access_key WHERE customer_id = %s", f"%{secret}%", customer
    ) == [(False,)]
