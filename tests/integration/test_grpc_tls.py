"""TLS on a worker's port: who gets in, and how the certificate is replaced while calls go on."""

import json
import logging
import threading
from collections import Counter
from pathlib import Path

import grpc
import pytest

from server.transport import TRANSPORTS
from tests.support import requests
from tests.support.certificates import Issuer, Pem, replace, write_files
from tests.support.in_process import Client, running_server
from tests.support.tls import (
    find_versions,
    make_context,
    read_serial,
    stalled_handshakes,
    wait_until_all_are_closed,
)
from tests.support.until import until

ISSUER = Issuer()


def create(port: int, customer: str, own: Pem | None = None) -> str:
    """Create an event on a connection of its own, and return the code with which that ends."""
    certificate = (own.key, own.certificate) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(ISSUER.certificate, *certificate)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
        try:
            Client(channel).leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=20)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_port_speaks_tls_from_version_1_2_on_and_nothing_else(
    database_url: str, customer: str, tmp_path: Path, transport: str
) -> None:
    pem = ISSUER.issue()
    with running_server(database_url, transport=transport, tls=write_files(tmp_path, pem)) as server:
        port = server.application.port
        assert create(port, customer) == "OK"
        assert read_serial(port, make_context(ISSUER.certificate)) == pem.serial
        assert find_versions(port, make_context(ISSUER.certificate)) == {"TLSv1_2", "TLSv1_3"}
        with pytest.raises(grpc.RpcError):
            server.client.is_serving()  # Without TLS.


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_callers_need_a_certificate_if_an_issuer_of_theirs_is_given(
    database_url: str, customer: str, tmp_path: Path, transport: str
) -> None:
    callers, strangers = Issuer(), Issuer()
    files = write_files(tmp_path, ISSUER.issue(), callers.certificate)
    with running_server(database_url, transport=transport, tls=files) as server:
        port = server.application.port
        assert create(port, customer) == "UNAVAILABLE"
        assert create(port, customer, strangers.issue()) == "UNAVAILABLE"
        assert create(port, customer, callers.issue()) == "OK"
        replace(tmp_path / "ca.crt", strangers.certificate)
        until(lambda: create(port, customer, strangers.issue()) == "OK")
        assert create(port, customer, callers.issue()) == "UNAVAILABLE"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_is_replaced_without_a_failed_call(
    database_url: str, customer: str, tmp_path: Path, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "server.ports")
    old, new = ISSUER.issue(), ISSUER.issue()
    files = write_files(tmp_path, old)
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def call(port: int) -> None:
        while not stop.is_set():
            outcomes[create(port, customer)] += 1

    def wait_for_calls(count: int) -> None:
        done = outcomes.total()
        until(lambda: outcomes.total() >= done + count)

    with running_server(database_url, transport=transport, tls=files) as server:
        port = server.application.port
        context = make_context(ISSUER.certificate)
        callers = [threading.Thread(target=call, args=(port,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            wait_for_calls(20)
            replace(files.certificate, new.certificate)  # Half of it.
            until(lambda: caplog.records)
            wait_for_calls(20)
            assert read_serial(port, context) == old.serial
            replace(files.key, new.key)
            until(lambda: read_serial(port, context) == new.serial)
            wait_for_calls(20)
        finally:
            stop.set()
            for caller in callers:
                caller.join()
    assert set(outcomes) == {"OK"}
    messages = [record.message for record in caplog.records if record.name == "server.ports"]
    assert messages == ["the new certificate cannot be used: the old one stays", "the certificate has changed"]
    assert "PRIVATE" not in json.dumps([vars(record) for record in caplog.records], default=str)


@pytest.mark.open_files(3_000)
def test_a_thousand_handshakes_that_stall_keep_nobody_out(database_url: str, customer: str, tmp_path: Path) -> None:
    with running_server(database_url, tls=write_files(tmp_path, ISSUER.issue())) as server:
        port = server.application.port
        with stalled_handshakes(port, 1000) as connections:
            assert [create(port, customer) for _ in range(10)] == ["OK"] * 10
            wait_until_all_are_closed(connections)
        assert create(port, customer) == "OK"
