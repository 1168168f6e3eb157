"""Refusals: how they come about, what a customer sees of them, and what is stored."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.refusal_pb2 import ListRefusalsRequest, Refusal
from server.event_loop import make_event_loop
from storage import Refusal as KeptRefusal
from storage import Refusals, make_id_and_time
from storage.ids import make_bound
from tests.support.database import as_server, query
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.requests import analytics_event
from tests.support.until import until

Metadata = tuple[tuple[str, str], ...]


def list_refusals(client: Client, customer: str, metadata: Metadata = (), **fields: Any) -> list[Refusal]:
    """Return the first page of the refusals of a customer, newest first."""
    request = ListRefusalsRequest(customer_id=customer, **fields)
    return list(client.events.ListRefusals(request, timeout=10, metadata=metadata).refusals)


def wait_for_refusals(
    client: Client, customer: str, count: int = 1, metadata: Metadata = (), **fields: Any
) -> list[Refusal]:
    """Return the refusals of a customer, newest first, once there are so many, those that are left out included."""

    def find() -> list[Refusal]:
        found = list_refusals(client, customer, metadata, page_size=1_000, **fields)
        return found if count_all(found) >= count else []

    found = until(find)
    assert count_all(found) == count
    return found


def count_all(refusals: list[Refusal]) -> int:
    """Return how many there were, those that are left out included."""
    return sum(1 + refusal.omitted for refusal in refusals)


def say_why(refusal: Refusal) -> list[tuple[str, str]]:
    """Return the fields at fault and the rules that they break."""
    return [(violation.field, violation.description) for violation in refusal.violations]


def bad(customer: str, **fields: Any) -> CreateAnalyticsEventRequest:
    """Return an event that is refused."""
    return analytics_event(customer, **{"recording_id": "", **fields})


def refuse(client: Client, customer: str, times: int = 1) -> None:
    """Have events of a customer refused."""
    for _ in range(times):
        with refused(grpc.StatusCode.INVALID_ARGUMENT):
            client.events.CreateAnalyticsEvent(bad(customer), timeout=5)


def make_refusals(count: int, milliseconds: int | None = None) -> list[KeptRefusal]:
    """Return refusals of now, or of another time."""
    ids = [make_id_and_time()[0] if milliseconds is None else make_bound(milliseconds + n) for n in range(count)]
    return [KeptRefusal(each, "Rpc", "json", "INVALID_ARGUMENT", "", "[]", "", "", 0) for each in ids]


def use_refusals(url: str, use: Callable[[Refusals], Coroutine[Any, Any, None]]) -> None:
    """Run `use` with the refusals of a database."""

    async def run() -> None:
        refusals = Refusals(as_server(url))
        try:
            await use(refusals)
        finally:
            refusals.disconnect()

    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(run())


def count_rows(url: str, customer: str) -> int:
    """Return how many refusals and replays of a customer are kept."""
    ((count,),) = query(url, "SELECT count(*) FROM refusal WHERE customer_id = %s", customer)
    return int(count)
