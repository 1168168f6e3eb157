"""TLS as `make run` serves it: on Envoy's port and on the workers', with secrets that stay where they are."""

import itertools
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from server.settings import TLS_VARIABLES, TlsFiles
from tests.support import requests
from tests.support.certificates import Issuer, Pem, replace, write_files
from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.stack import EVENT, Stack, running
from tests.support.tls import (
    find_versions,
    make_context,
    read_serial,
    stalled_handshakes,
    wait_until_all_are_closed,
)
from tests.support.until import until

CREATE = "/api/v1/lead_analytics"
PASSWORD = "correct-horse"
TOKEN = "sk_battery_staple"
ISSUER, CALLERS = Issuer(), Issuer()


class Secure(NamedTuple):
    """A stack that uses TLS, and its files."""

    stack: Stack
    files: TlsFiles
    certificate: Pem
    http: Http

    def client(self, port: int) -> grpc.Channel:
        """Return a channel to a port, on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(ISSUER.certificate), options)


def make_pki(directory: Path, stack: Stack) -> Path:
    """Return a new directory for files that the account of the stacks may read."""
    directory.mkdir()
    owner = stack.data.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    return directory


def name_files(files: TlsFiles) -> dict[str, str]:
    """Return the variables that name the files."""
    return {name: str(path) for name, path in zip(TLS_VARIABLES, files, strict=True) if path}


def name_database(stack: Stack) -> dict[str, str]:
    """Return the variables that name the database of `stack`, with a password, for which it does not ask."""
    urls = {"DATABASE_URL": stack.server_database_url, "OWNER_DATABASE_URL": stack.database_url}
    return {name: url.replace("@", f":{PASSWORD}@", 1) for name, url in urls.items()}


@pytest.fixture(scope="module")
def secure(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Run a stack that uses TLS and logs all it can."""
    directory = tmp_path_factory.mktemp("secure")
    certificate = ISSUER.issue()
    files = write_files(make_pki(directory / "pki", stack), certificate)
    with running(directory, **name_database(stack), **name_files(files), LOG_LEVEL="DEBUG") as started:
        http = Http(started.http_port, make_context(ISSUER.certificate))
        yield Secure(started.wait_until_up(), files, certificate, http)


def test_all_ports_speak_tls_and_nothing_else(secure: Secure, customer: str) -> None:
    stack = secure.stack
    assert secure.http.post(CREATE, EVENT).status == 201
    for port in (stack.http_port, stack.grpc_port):
        assert find_versions(port, make_context(ISSUER.certificate)) == {"TLSv1_2", "TLSv1_3"}
        with secure.client(port) as channel:
            assert Client(channel).is_serving()
            assert Client(channel).leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=10).created_at
    assert stack.request(CREATE, EVENT) == 0  # Without TLS.


def test_a_certificate_is_replaced_without_a_failed_request(secure: Secure, customer: str) -> None:
    stack, files = secure.stack, secure.files
    ports = (stack.http_port, stack.grpc_port)
    context = make_context(ISSUER.certificate)
    new = ISSUER.issue()
    outcomes: Counter[object] = Counter()
    stop = threading.Event()

    def post() -> object:
        return secure.http.post(CREATE, EVENT).status

    def call() -> object:
        with secure.client(stack.grpc_port) as channel:
            Client(channel).leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=20)
        return "OK"

    def repeat(request: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                outcomes[request()] += 1
            except (OSError, grpc.RpcError) as error:
                outcomes[repr(error)] += 1

    def wait_for_more() -> None:
        seen = dict(outcomes)
        until(lambda: all(outcomes[each] > seen.get(each, 0) + 20 for each in (201, "OK")))

    old = {port: read_serial(port, context) for port in ports}
    callers = [threading.Thread(target=repeat, args=(request,)) for request in (post, post, call, call)]
    for caller in callers:
        caller.start()
    try:
        wait_for_more()
        replace(files.certificate, new.certificate)  # Half of it.
        until(lambda: stack.log.count("is not the key of") == 2)  # The stack and the first worker, in turn.
        wait_for_more()
        assert {port: read_serial(port, context) for port in ports} == old
        replace(files.key, new.key)
        until(lambda: all(read_serial(port, context) == new.serial for port in ports))
        wait_for_more()
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert set(outcomes) == {201, "OK"}
    assert stack.log.count("is not the key of") == 2


@pytest.mark.open_files(3_000)
def test_a_thousand_handshakes_that_stall_keep_nobody_out(secure: Secure) -> None:
    with stalled_handshakes(secure.stack.http_port, 1000) as connections:
        assert [secure.http.post(CREATE, EVENT).status for _ in range(10)] == [201] * 10
        wait_until_all_are_closed(connections)
    assert secure.http.post(CREATE, EVENT).status == 201


def test_no_secret_is_logged_or_shown(secure: Secure) -> None:
    stack, http = secure.stack, secure.http
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert http.post(CREATE, EVENT, headers).status == 201
    answers = [
        http.post(CREATE, b'{"customer_id":', headers),
        http.post(f"{CREATE}?key={TOKEN}", EVENT, headers),
        http.post("/nowhere", EVENT, headers),
        http("DELETE", CREATE, None, headers),
        http("GET", f"{CREATE}/search?key={TOKEN}", None, headers),
    ]
    assert [answer.status for answer in answers] == [422, 422, 404, 405, 422]
    with secure.client(stack.grpc_port) as channel:
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        create = Client(channel).leads.CreateLeadAnalyticsEvent
        with pytest.raises(grpc.RpcError) as caught:
            create(requests.lead_event(""), timeout=10, metadata=metadata)
    until(lambda: "answered" in stack.log)  # So DEBUG is on.

    key = secure.files.key.read_text().splitlines()[1]
    shown = {
        "log": stack.log,
        "output": stack.output,
        "processes": "\n".join(stack.processes().values()),
        "answers": repr(answers) + repr(caught.value),
        **{page: stack.ask_envoy(page) for page in ("/config_dump", "/stats", "/clusters", "/certs", "/server_info")},
        "Envoy's configuration": (stack.data / "envoy.yaml").read_text(),
        "Envoy's environment": Path(f"/proc/{stack.number_of('envoy')}/environ").read_text(),
    }
    for (where, text), secret in itertools.product(shown.items(), (PASSWORD, TOKEN, key)):
        assert secret not in text, where


def test_the_files_of_the_stack_are_its_accounts_alone(secure: Secure) -> None:
    data = secure.stack.data
    opened = [path for path in (data, *data.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert opened == []
    assert {path.name for path in secure.stack.run.glob("*.sock")} == {
        "envoy.sock",
        "pages.sock",
        *(f"{port}.sock" for port in secure.stack.grpc_ports),
    }


def test_callers_need_a_certificate_if_an_issuer_of_theirs_is_given(stack: Stack, tmp_path: Path) -> None:
    files = write_files(make_pki(tmp_path / "pki", stack), ISSUER.issue(), CALLERS.certificate)
    callers = tmp_path / "callers"
    callers.mkdir()
    with running(tmp_path, **name_database(stack), **name_files(files), WORKERS="1") as started:
        port = started.wait_until_up().http_port

        def post(own: Pem | None) -> int:
            try:
                return Http(port, make_context(ISSUER.certificate, callers, own)).post(CREATE, EVENT).status
            except OSError:
                return 0

        assert [post(own) for own in (None, Issuer().issue(), CALLERS.issue())] == [0, 0, 201]
        newer = Issuer()
        assert files.client_ca is not None
        replace(files.client_ca, newer.certificate)
        until(lambda: post(newer.issue()) == 201)
        assert post(CALLERS.issue()) == 0
        assert started.stop() == 0
        assert not list(started.run.glob("tls-*"))
