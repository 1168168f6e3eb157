"""Credentials while the database, or the identity provider, is away."""

import asyncio
import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.access.caller import Unauthenticated
from server.access.provider import Provider
from server.access.provider_settings import ProviderSettings
from server.access.verifier import Verifier
from storage import DatabaseUnavailable, TooManyLookups
from storage.key_finder import KeyFinder
from tests.support.access import AUDIENCE, ISSUER, bearer, make_key, providers_claims, revoke, sign, to_jwk
from tests.support.database import as_server, backends, refusing_connections, terminate_backends
from tests.support.in_process import RunningServer, running_server
from tests.support.until import until

ACCESS = "analytics access"


def ask(server: RunningServer, key: str) -> grpc.StatusCode:
    """Return the status of a call that says INVALID_ARGUMENT to whoever is let in, without asking the database."""
    with pytest.raises(grpc.RpcError) as caught:
        server.client.events.BatchCreateAnalyticsEvents(
            BatchCreateAnalyticsEventsRequest(), timeout=10, metadata=tuple(bearer(key).items())
        )
    code: grpc.StatusCode = caught.value.code()
    return code


def test_who_was_let_in_stays_in_while_the_database_is_away(own_database_url: str, customer: str) -> None:
    known, unknown = make_key(own_database_url, "secret", customer), make_key(own_database_url, "secret", customer)
    with running_server(own_database_url, auth=True) as server:
        assert ask(server, known) == grpc.StatusCode.INVALID_ARGUMENT
        with refusing_connections(own_database_url):
            terminate_backends(own_database_url, ACCESS)
            end = time.monotonic() + 7
            while time.monotonic() < end:
                assert ask(server, known) == grpc.StatusCode.INVALID_ARGUMENT
                time.sleep(0.2)
            assert ask(server, unknown) == grpc.StatusCode.UNAVAILABLE
            assert ask(server, known[:-1] + "0" if known[-1] != "0" else "1") == grpc.StatusCode.UNAUTHENTICATED
        until(lambda: ask(server, unknown) == grpc.StatusCode.INVALID_ARGUMENT)
        revoke(own_database_url, known)
        until(lambda: ask(server, known) == grpc.StatusCode.UNAUTHENTICATED)


def test_after_a_while_nobody_stays_in(own_database_url: str, customer: str) -> None:
    key = f"Bearer {make_key(own_database_url, 'secret', customer)}"

    async def run() -> None:
        keys = KeyFinder(as_server(own_database_url))
        verifier = Verifier(keys, None, away_seconds=6)
        assert (await verifier.verify(key)).may_write(customer, "u")
        with refusing_connections(own_database_url):
            terminate_backends(own_database_url, ACCESS)
            assert (await verifier.verify(key)).may_write(customer, "u")
            await asyncio.sleep(6)
            assert verifier.find(key) is None
            with pytest.raises(DatabaseUnavailable):
                await verifier.verify(key)
        verifier.close()
        keys.close()

    asyncio.run(run())


def test_only_so_many_keys_are_looked_up_at_once(own_database_url: str) -> None:
    async def run() -> None:
        keys = KeyFinder(as_server(own_database_url))
        found = await asyncio.gather(
            *[keys.find(f"sk_{number:016x}") for number in range(1_500)], return_exceptions=True
        )
        assert {type(each) for each in found} == {type(None), TooManyLookups}
        assert found.count(None) == 1_000
        assert await keys.find("sk_x") is None
        keys.close()

    asyncio.run(run())


def test_a_flood_of_unknown_keys_is_one_statement(own_database_url: str) -> None:
    async def run() -> None:
        keys = KeyFinder(as_server(own_database_url))
        assert await asyncio.gather(*[keys.find(f"sk_{number:016x}") for number in range(500)]) == [None] * 500
        assert len(backends(own_database_url, ACCESS)) == 1
        keys.close()

    asyncio.run(run())


class _Provider(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[list[bytes]] = []
    asked = 0
    redirect = ""

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.redirect:
            self.send_response(302)
            self.send_header("location", self.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        body = self.answers[0] if self.answers else b""
        self.send_response(200 if body else 500)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def running_provider() -> Iterator[tuple[str, Any]]:
    """Run a provider of keys, and yield its URL and what it answers with."""
    handler: Any = type("_Own", (_Provider,), {"answers": [], "asked": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/jwks.json", handler
        finally:
            server.shutdown()
            thread.join()


def jwks(*algorithms: str) -> bytes:
    return json.dumps({"keys": [to_jwk(each) for each in algorithms]}).encode()


def with_provider(test: Callable[[Provider, Any], Any]) -> None:
    with running_provider() as (url, answers):

        async def run() -> None:
            await test(Provider(ProviderSettings(ISSUER, AUDIENCE, jwks_url=url)), answers)

        asyncio.run(run())


def test_the_providers_keys_are_fetched_once_however_many_ask() -> None:
    async def run(provider: Provider, handler: Any) -> None:
        handler.answers[:] = [jwks("RS256", "ES256")]
        found = await asyncio.gather(*[provider.find("RS256") for _ in range(50)])
        assert all(key is not None and key.algorithm == "RS256" for key in found)
        assert handler.asked == 1
        assert await asyncio.gather(*[provider.find(f"unknown {number}") for number in range(50)]) == [None] * 50
        assert handler.asked == 1

    with_provider(run)


def test_a_provider_that_is_away_lets_nobody_in() -> None:
    async def run(provider: Provider, handler: Any) -> None:
        assert await provider.find("RS256") is None
        handler.answers[:] = [b"<html>"]
        assert await provider.find("RS256") is None

    with_provider(run)


def test_the_keys_are_taken_from_no_other_address() -> None:
    async def run(provider: Provider, handler: Any) -> None:
        with running_provider() as (elsewhere, others):
            others.answers[:] = [jwks("RS256")]
            handler.redirect = elsewhere
            assert await provider.find("RS256") is None
            assert (handler.asked, others.asked) == (1, 0)

    with_provider(run)


def test_an_answer_that_is_not_http_lets_nobody_in() -> None:
    async def run(port: int) -> None:
        provider = Provider(ProviderSettings(ISSUER, AUDIENCE, jwks_url=f"http://127.0.0.1:{port}/jwks.json"))
        assert await provider.find("RS256") is None

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        asyncio.run(run(listener.getsockname()[1]))
        thread.join()


def test_a_token_is_verified_by_the_keys_of_the_url(own_database_url: str, customer: str) -> None:
    async def run(provider: Provider, handler: Any) -> None:
        handler.answers[:] = [jwks("ES256")]
        keys = KeyFinder(as_server(own_database_url))
        verifier = Verifier(keys, provider)
        caller = await verifier.verify(f"bearer {sign(providers_claims([customer]), 'ES256', 'ES256')}")
        assert (caller.name, caller.customers) == ("ES256", frozenset([customer]))
        with pytest.raises(Unauthenticated):
            await verifier.verify(f"Bearer {sign(providers_claims([customer]), 'RS256', 'RS256')}")
        keys.close()

    with_provider(run)
