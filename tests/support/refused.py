"""What a customer sees of what was refused."""

from typing import Any

from data_analytics.v1.refusal_pb2 import ListRefusalsRequest, Refusal
from tests.support.in_process import Client
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
