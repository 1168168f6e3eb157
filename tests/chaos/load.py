"""Callers that retry each event, under its idempotency key, until it is acknowledged, and record what happens."""

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from data_analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceStub

EVENTS_A_RECORDING = 500
BATCH = 20
PATIENCE_SECONDS = 5.0

# What a caller may get while a part of the service is down, and retries. Anything else is a bug of the service.
_RETRYABLE_HTTP = {409, 429, 503, 504}
_RETRYABLE_GRPC = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
}


class Receipt(NamedTuple):
    """One acknowledgement."""

    number: int
    id: str
    started: float
    """When its attempt began, by time.monotonic()."""


class Failure(NamedTuple):
    """One attempt that was not acknowledged."""

    ended: float
    what: str


def numbered_event(customer: str, number: int) -> dict[str, Any]:
    """Return an event that holds its number, so that no other is equal to it."""
    return {
        "customer_id": customer,
        "lead_id": "lead",
        "user_id": "user",
        "recording_id": f"recording-{number // EVENTS_A_RECORDING}",
        "event_type": "view",
        "message": f"{number}",
        "version_info": {"number": number},
    }


class Load:
    """A context manager that runs callers, through Envoy: some by JSON, some by gRPC, some in batches."""

    def __init__(self, port: int, customer: str, *, key: str = "", pause: float = 0.0) -> None:
        """Prepare the callers, each of which waits for `pause` seconds after what it has stored."""
        self.customer = customer
        self.receipts: list[Receipt] = []
        self.failures: list[Failure] = []
        self.unexpected: list[str] = []
        """Answers that no fault excuses."""
        self._port = port
        self.credentials = {"authorization": f"Bearer {key}"} if key else {}
        self._pause = pause
        self._numbers = itertools.count()
        self._stop = threading.Event()
        callers = [*[self._by_http] * 6, *[self._by_grpc] * 3, self._by_batch]
        self._threads = [threading.Thread(target=self._call, args=(caller,), daemon=True) for caller in callers]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_SECONDS + 10)

    @property
    def sent(self) -> int:
        """A number above all that the callers have used."""
        return next(self._numbers)

    def _call(self, caller: Callable[[random.Random], None]) -> None:
        try:
            caller(random.Random(threading.get_ident()))
        except Exception as error:  # noqa: BLE001 - the check at the end reports it
            self.unexpected.append(f"a caller ended: {error!r}")

    def _next_number(self) -> int:
        return next(self._numbers)

    def _record_failure(self, what: str) -> None:
        self.failures.append(Failure(time.monotonic(), what))
        self._stop.wait(0.02)

    def _by_http(self, chance: random.Random) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            number = self._next_number()
            body = json.dumps(numbered_event(self.customer, number))
            headers = {"content-type": "application/json", "idempotency-key": f"{number}", **self.credentials}
            while not self._stop.is_set():
                # Some hang up before the answer, like a caller whose machine fails.
                hangs_up = chance.random() < 0.02
                started = time.monotonic()
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", self._port)
                    connection.timeout = PATIENCE_SECONDS
                    connection.request("POST", "/api/v1/lead_analytics", body, headers)
                    if connection.sock is not None:
                        connection.sock.settimeout(0.003 if hangs_up else PATIENCE_SECONDS)
                    answer = connection.getresponse()
                    data = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    if connection is not None:
                        connection.close()
                    connection = None
                    if not hangs_up:
                        self._record_failure(f"HTTP {type(error).__name__}")
                    continue
                if answer.status == 201:
                    identifier = json.loads(data)["partitionKey"].partition("|")[2]
                    self.receipts.append(Receipt(number, identifier, started))
                    self._stop.wait(self._pause)
                    break
                if answer.status not in _RETRYABLE_HTTP:
                    self.unexpected.append(f"{answer.status} {data.decode()}")
                    break
                self._record_failure(f"HTTP {answer.status}")
        if connection is not None:
            connection.close()

    def _by_grpc(self, chance: random.Random) -> None:
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            stub = LeadAnalyticsServiceStub(channel)
            while not self._stop.is_set():
                number = self._next_number()
                request = CreateLeadAnalyticsEventRequest(**numbered_event(self.customer, number))
                while not self._stop.is_set():
                    hangs_up = chance.random() < 0.02
                    started = time.monotonic()
                    try:
                        answer = stub.CreateLeadAnalyticsEvent(
                            request,
                            timeout=0.003 if hangs_up else PATIENCE_SECONDS,
                            metadata=(("idempotency-key", f"{number}"), *self.credentials.items()),
                        )
                    except grpc.RpcError as error:
                        if hangs_up:
                            continue
                        if error.code() not in _RETRYABLE_GRPC:
                            self.unexpected.append(f"{time.monotonic():.1f} {error.code()} {error.details()}")
                            break
                        self._record_failure(f"gRPC {error.code().name}")
                        continue
                    self.receipts.append(Receipt(number, answer.partition_key.partition("|")[2], started))
                    self._stop.wait(self._pause)
                    break

    def _by_batch(self, chance: random.Random) -> None:
        while not self._stop.is_set():
            numbers = [self._next_number() for _ in range(BATCH)]
            events = []
            for number in numbers:
                event = numbered_event(self.customer, number)
                entity = {"entity_type": "lead", "entity_id": event.pop("lead_id")}
                events.append({**event, **entity, "idempotency_key": f"{number}"})
            while not self._stop.is_set():
                started = time.monotonic()
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
                try:
                    headers = {"content-type": "application/json", **self.credentials}
                    body = json.dumps({"events": events})
                    connection.request("POST", "/api/v1/analytics_events:batch", body, headers)
                    answer = connection.getresponse()
                    data = json.loads(answer.read() or b"{}")
                except (OSError, http.client.HTTPException) as error:
                    self._record_failure(f"batch {type(error).__name__}")
                    continue
                finally:
                    connection.close()
                if answer.status == 200:
                    stored = {
                        outcome["index"]: outcome["stored"] for outcome in data["outcomes"] if "stored" in outcome
                    }
                    self.receipts += [Receipt(numbers[index], it["id"], started) for index, it in stored.items()]
                    self._stop.wait(self._pause)
                    if len(stored) == BATCH:
                        break
                elif answer.status not in _RETRYABLE_HTTP:
                    self.unexpected.append(f"batch {answer.status} {data}")
                    break
                self._record_failure(f"batch {answer.status}")
