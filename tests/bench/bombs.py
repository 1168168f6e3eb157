"""Compressed requests that are small until they are unpacked."""

import collections
import gzip
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from tests.bench.bodies import BATCH, BATCH_PATH, CREATE, CREATE_PATH
from tests.support.http import Http

COUNT = 24
"""How many are sent at once."""

_BYTES = 47 << 20
"""The size of each once it is unpacked; of gzip it is 48 KB."""


def send_grpc(ports: Sequence[int]) -> str:
    """Send COUNT to each of the ports at once, half of them as creates and half as batches. Return the statuses."""
    # A create that parses, and as a batch an unknown field that is skipped.
    message = CreateLeadAnalyticsEventRequest(message="a" * _BYTES).SerializeToString()
    calls = []
    channels = [
        grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        for port in ports
        for _ in range(COUNT)
    ]
    for number, channel in enumerate(channels):
        # The client compresses the message before it sends it.
        rpc: Any = channel.unary_unary(f"/{BATCH if number % 2 else CREATE}")
        calls.append(rpc.future(message, timeout=60, compression=grpc.Compression.Gzip))
    statuses = collections.Counter(call.code().name for call in calls)
    for channel in channels:
        channel.close()
    return format_statuses(statuses)


def send_json(port: int) -> str:
    """Send COUNT to the route of creates, and as many to that of batches, all at once. Return the statuses."""
    body = gzip.compress(b'{"customer_id":"' + b"a" * _BYTES + b'"}')
    client = Http(port)

    def send(path: str) -> int:
        return client("POST", path, body, {"content-encoding": "gzip"}).status

    with ThreadPoolExecutor(2 * COUNT) as threads:
        return format_statuses(collections.Counter(map(str, threads.map(send, [CREATE_PATH, BATCH_PATH] * COUNT))))


def format_statuses(statuses: "collections.Counter[str]") -> str:
    """Return statuses with their numbers, as in `2 × 413`."""
    return ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
