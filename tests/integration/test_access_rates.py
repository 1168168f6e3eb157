"""The rates of keys, on several servers that share a database."""

import asyncio
import time
from typing import Any

import grpc

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from server.access.rates import Meter, OverRate, Rate
from storage.key_finder import KeyFinder
from tests.support.access import bearer, create, make_key, run_command
from tests.support.database import as_server, count_events
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused
from tests.support.requests import analytics_event
from tests.support.until import until


def create_batch(server: RunningServer, customer: str, key: str, size: int) -> Any:
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer)] * size)
    return server.client.events.BatchCreateAnalyticsEvents(batch, timeout=5, metadata=tuple(bearer(key).items()))


def test_workers_share_the_rate_of_a_key(guarded_url: str) -> None:
    """Four meters, two of them busier, together let pass what one would: what a second allows, and the rate."""
    rate, seconds = 200, 4.0

    async def ask(meter: Meter, pause: float, end: float) -> int:
        passed = 0
        while time.monotonic() < end:
            try:
                await meter.spend(1, 100)
                passed += 1
            except OverRate:
                pass
            await asyncio.sleep(pause)
        return passed

    async def run() -> tuple[int, float]:
        finders = [KeyFinder(as_server(guarded_url)) for _ in range(4)]
        key_id = f"sk_{time.time()}"
        meters = [Meter(keys, key_id, Rate(rate, 1 << 30)) for keys in finders]
        await meters[0].spend(1, 100)
        started = time.monotonic()
        pauses = (0.001, 0.001, 0.01, 0.02)
        passed = await asyncio.gather(
            *[ask(meter, pause, started + seconds) for meter, pause in zip(meters, pauses, strict=True)]
        )
        took = time.monotonic() - started
        for keys in finders:
            keys.close()
        return sum(passed), took

    passed, took = asyncio.run(run())
    allowed = rate * (took + 1)
    assert 0.9 * allowed <= passed <= 1.1 * allowed


def test_a_key_over_its_rate_is_refused_and_told_when_to_come_back(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "5")
    other = make_key(guarded_url, "secret", customer)
    with running_server(guarded_url, auth=True) as server:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            for _ in range(30):
                create(server, customer, key)
        assert refusal.retry_seconds == 1
        assert refusal.trailers["retry-after"] == "1"
        assert refusal.trailers["ratelimit-policy"] == '"events";q=5;w=1, "bytes";q=67108864;w=1'
        assert refusal.trailers["ratelimit"] == '"events";r=0;t=1'
        assert 5 <= count_events(guarded_url, customer) < 30
        create(server, customer, other)


def test_each_event_of_a_batch_counts(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "20")
    with running_server(guarded_url, auth=True) as server:
        assert create_batch(server, customer, key, 100).stored_count == 100
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            create_batch(server, customer, key, 1)
        assert 2 <= refusal.retry_seconds <= 5
    with running_server(guarded_url, auth=True) as server, refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        for _ in range(3):
            create_batch(server, customer, key, 30)


def test_bytes_count_too(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--bytes-per-second", "20000")
    with running_server(guarded_url, auth=True) as server:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            for _ in range(4):
                create(server, customer, key, message="m" * 15_000)
        assert refusal.trailers["ratelimit"].startswith('"bytes";r=0')


def test_a_stream_over_its_rate_is_slowed_down(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "50")
    chunks = [WriteAnalyticsEventsRequest(events=[analytics_event(customer)] * 30)] * 5
    with running_server(guarded_url, auth=True) as server:
        started = time.monotonic()
        answers = server.client.events.WriteAnalyticsEvents(
            iter(chunks), timeout=30, metadata=tuple(bearer(key).items())
        )
        assert sum(answer.committed.stored_count for answer in answers) == 150
        assert time.monotonic() - started > 0.5  # At once, it would be over three seconds' worth.


def test_the_limit_of_a_key_in_use_can_be_changed(guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--events-per-second", "1")
    key_id = "_".join(key.split("_")[:2])
    nothing = "nothing to change: give --events-per-second, --bytes-per-second or both\n"
    assert run_command(guarded_url, "limit", key_id) == (2, "", nothing)
    assert run_command(guarded_url, "limit", "sk_unknown", "--events-per-second", "5")[0] == 2
    with running_server(guarded_url, auth=True) as server:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            while True:
                create(server, customer, key)
        assert run_command(guarded_url, "limit", key_id, "--events-per-second", "1000")[0] == 0
        assert "events_per_second=1000" in run_command(guarded_url, "list", "--customer", customer)[1]

        def writes_many() -> bool:
            try:
                for _ in range(50):
                    create(server, customer, key)
            except grpc.RpcError:
                return False
            return True

        until(writes_many)
