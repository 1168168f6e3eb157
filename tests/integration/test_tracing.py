"""Traces: which spans a call makes, what they hold, who decides about them, and that they hold up nothing."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest
from server.metrics.catalog import SPANS_DROPPED, SPANS_EXPORTED
from server.tracing.interface import call_span
from server.tracing.make import make_tracer, read_endpoint
from server.tracing.telemetry import Telemetry
from server.variables import ConfigurationError
from tests.support import requests
from tests.support.database import locked_table
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.processes import ROOT, free_port
from tests.support.refusals import refused
from tests.support.traces import Receiver, list_links, read_attributes, receiving
from tests.support.until import until

CREATE = "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
SERVER = f"data-analytics-service {CREATE}"
COMMIT = "data-analytics-service commit"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PARENT_ID = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Yield what receives the traces."""
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def traced(database_url: str, receiver: Receiver) -> Iterator[RunningServer]:
    """Yield a server whose calls are traced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, f"http://127.0.0.1:{receiver.port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with running_server(database_url, tracing=True) as running:
            yield running


@pytest.fixture(name="client")
def find_client(traced: RunningServer) -> Client:
    """Return a client of this server."""
    return traced.client


def call_from(trace_id: str, flags: str = "01") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call within a trace."""
    return (("traceparent", f"00-{trace_id}-{PARENT_ID}-{flags}"),)


def test_a_create_and_its_commit_belong_to_the_callers_trace(client: Client, receiver: Receiver, customer: str) -> None:
    trace = uuid.uuid4().hex
    metadata = (*call_from(trace), ("x-request-id", "id-1"), ("tracestate", "a=b"))
    client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5, metadata=metadata)
    spans = receiver.find(trace, 2)
    call, commit = spans[SERVER], spans[COMMIT]
    assert (call.parent_span_id.hex(), call.kind, call.trace_state) == (PARENT_ID, call.SPAN_KIND_SERVER, "")
    assert read_attributes(call) == {
        "rpc.system.name": "grpc",
        "rpc.method": CREATE,
        "rpc.response.status_code": "OK",
        "rpc.request.metadata.x-request-id": "id-1",
        "analytics.door": "grpc",
    }
    assert (commit.parent_span_id, commit.kind, list_links(commit)) == (
        call.span_id,
        commit.SPAN_KIND_CLIENT,
        {call.span_id},
    )
    assert read_attributes(commit) == {
        "db.system.name": "postgresql",
        "db.collection.name": "analytics_event",
        "db.operation.batch.size": 1,
        "analytics.lane": "creates",
    }


def test_a_commit_is_linked_to_the_calls_of_all_its_callers(
    traced: RunningServer, receiver: Receiver, customer: str, database_url: str
) -> None:
    traces = [uuid.uuid4().hex for _ in range(6)]

    def call(trace: str) -> None:
        create = traced.client.leads.CreateLeadAnalyticsEvent
        create(requests.lead_event(customer), timeout=20, metadata=call_from(trace))

    commits = traced.application.commits
    with ThreadPoolExecutor(len(traces)) as pool, locked_table(database_url):
        calls = [pool.submit(call, traces[0])]
        until(lambda: commits.in_flight_seconds)
        # While this one's commit waits for the table, the others wait for the next one.
        calls += [pool.submit(call, trace) for trace in traces[1:]]
        until(lambda: commits.waiting_callers == len(traces) - 1)
    for each in calls:
        each.result()
    spans = [receiver.find(trace, 1)[SERVER].span_id for trace in traces]

    def find_links() -> list[set[bytes]]:
        commits = [list_links(span) for _, span in receiver.spans if span.name == "commit"]
        return sorted((links for links in commits if links & set(spans)), key=len)

    until(lambda: sum(map(len, find_links())) == len(traces))
    assert [len(links) for links in find_links()] == [1, len(traces) - 1]


def test_streams_have_a_span_each(client: Client, receiver: Receiver, customer: str) -> None:
    written, exported = uuid.uuid4().hex, uuid.uuid4().hex
    chunk = WriteAnalyticsEventsRequest(events=[requests.analytics_event(customer)] * 3)
    assert len(list(client.events.WriteAnalyticsEvents(iter([chunk]), timeout=5, metadata=call_from(written)))) == 1
    export = ExportAnalyticsEventsRequest(customer_id=customer)
    list(client.events.ExportAnalyticsEvents(export, timeout=10, metadata=call_from(exported)))
    spans = receiver.find(written, 2)
    name = "data-analytics-service data_analytics.v1.AnalyticsEventService"
    assert spans[COMMIT].parent_span_id == spans[f"{name}/WriteAnalyticsEvents"].span_id
    assert read_attributes(spans[COMMIT])["db.operation.batch.size"] == 3
    assert set(receiver.find(exported, 1)) == {f"{name}/ExportAnalyticsEvents"}


def test_a_failure_names_its_cause_and_nothing_of_the_customer(
    client: Client, receiver: Receiver, customer: str
) -> None:
    trace = uuid.uuid4().hex
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        event = requests.lead_event(customer, lead_id="", message=f"a message of {customer}")
        client.leads.CreateLeadAnalyticsEvent(event, timeout=5, metadata=call_from(trace))
    span = receiver.find(trace, 1)[SERVER]
    assert read_attributes(span)["error.type"] == "invalid_request"
    assert read_attributes(span)["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert span.status.code == span.status.STATUS_CODE_UNSET  # It is the caller's error.
    assert all(customer.encode() not in request.SerializeToString() for request in receiver.requests)


@pytest.mark.parametrize(
    "value",
    [
        *("", "00", "00-", "nonsense", "0" * 10_000, f"00-{'a' * 32}-{PARENT_ID}-01-more"),
        *(f"{version}-{'a' * 32}-{PARENT_ID}-01" for version in ("ff", "0", "0g")),
        *(f"00-{trace}-{PARENT_ID}-01" for trace in ("0" * 32, "A" * 32, "a" * 31, "g" * 32)),
        *(f"00-{'a' * 32}-{parent}-01" for parent in ("0" * 16, "b" * 15, "")),
    ],
    ids=lambda value: value[:60],
)
def test_a_malformed_traceparent_is_ignored(client: Client, receiver: Receiver, customer: str, value: str) -> None:
    request_id = uuid.uuid4().hex
    metadata = (("traceparent", value), ("x-request-id", request_id))
    client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5, metadata=metadata)
    span = find_by_request_id(receiver, request_id)
    assert span.parent_span_id == b""
    assert span.trace_id.hex() not in value


def find_by_request_id(receiver: Receiver, request_id: str) -> Span:
    """Return the span of a call."""
    (span,) = until(
        lambda: [
            span
            for _, span in receiver.spans
            if read_attributes(span).get("rpc.request.metadata.x-request-id") == request_id
        ]
    )
    return span


def test_a_caller_who_samples_nothing_has_no_spans(client: Client, receiver: Receiver, customer: str) -> None:
    unsampled, sampled = uuid.uuid4().hex, uuid.uuid4().hex
    for trace, flags in ((unsampled, "00"), (sampled, "01")):
        metadata = call_from(trace, flags)
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5, metadata=metadata)
    receiver.find(sampled, 2)
    assert unsampled not in {span.trace_id.hex() for _, span in receiver.spans}


def test_the_log_names_the_trace_of_a_call_that_failed(
    client: Client, customer: str, caplog: pytest.LogCaptureFixture
) -> None:
    trace = uuid.uuid4().hex
    with caplog.at_level("INFO", "server"), refused(grpc.StatusCode.INVALID_ARGUMENT):
        client.leads.CreateLeadAnalyticsEvent(
            requests.lead_event(customer, user_id=""), timeout=5, metadata=call_from(trace)
        )
    assert trace in {getattr(record, "trace_id", "") for record in caplog.records}


def test_a_receiver_that_hangs_holds_up_neither_calls_nor_the_stop(database_url: str, customer: str) -> None:
    with receiving() as receiver, pytest.MonkeyPatch.context() as patch:
        receiver.goes_on.clear()
        patch.setenv(ENDPOINT, f"http://127.0.0.1:{receiver.port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
        with running_server(database_url, tracing=True) as server:
            for _ in range(5):
                server.client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
            until(lambda: receiver.requests)
            server.client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
        assert not receiver.goes_on.is_set()  # The server has stopped all the same.


def test_spans_that_nobody_takes_are_counted(database_url: str, customer: str) -> None:
    before = SPANS_DROPPED.values["export_failed",]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        patch.setenv("OTEL_SERVICE_NAME", "another")
        with running_server(database_url, tracing=True) as server:
            server.client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
            until(lambda: SPANS_DROPPED.values["export_failed",] >= before + 2)


def test_spans_that_are_exported_are_counted(client: Client, receiver: Receiver, customer: str) -> None:
    before, trace = SPANS_EXPORTED.values[()], uuid.uuid4().hex
    batch = BatchCreateAnalyticsEventsRequest(events=[requests.analytics_event(customer)])
    client.events.BatchCreateAnalyticsEvents(batch, timeout=5, metadata=call_from(trace))
    receiver.find(trace, 2)
    until(lambda: SPANS_EXPORTED.values[()] >= before + 2)


def test_calls_and_commits_are_traced_up_to_a_number_a_second() -> None:
    kept = InMemorySpanExporter()
    telemetry = Telemetry(kept, calls_each_second=3)
    before, calls = SPANS_DROPPED.values["over_rate",], 50

    async def answer(request: bytes, _: object) -> bytes:
        if (span := call_span.get()) is not None:
            for _ in range(calls):
                if commit := telemetry.begin_commit("batches", [span], 1):
                    commit.end(0, "")
            call_span.set(None)
        return request

    async def call() -> None:
        behaviour: Any = answer
        handler = telemetry.wrap(grpc.unary_unary_rpc_method_handler(behaviour), "Service/Method", "grpc")
        for _ in range(calls):
            assert await handler.unary_unary(b"request", Asked(call_from(uuid.uuid4().hex))) == b"request"
        await telemetry.close()

    asyncio.run(call())
    traced = [span.name for span in kept.get_finished_spans()]
    assert 0 < traced.count("Service/Method") < calls
    assert 0 < traced.count("commit") < calls
    begun = calls + calls * traced.count("Service/Method")
    assert len(traced) + SPANS_DROPPED.values["over_rate",] - before == begun


class Asked(NamedTuple):
    """The context of a call."""

    metadata: tuple[tuple[str, str], ...]

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata."""
        return self.metadata


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    program = "import sys, server.__main__; print([name for name in sys.modules if 'opentelemetry' in name])"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_SAMPLER": "always_on"},
        {ENDPOINT: "http://h:4317", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://h:4317", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_there_is_an_endpoint(environment: dict[str, str]) -> None:
    assert read_endpoint(environment) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (ENDPOINT, "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "some"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_TRACES_SAMPLER_ARG", "a tenth"),
    ],
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    environment = {ENDPOINT: "http://h:4317", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    with pytest.raises(ConfigurationError, match=f"^{name} is '{value}'"):
        read_endpoint({**environment, name: value})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_COMPRESSION"])
def test_what_opentelemetry_finds_malformed_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "soon")
    with pytest.raises(ConfigurationError, match="OTEL_"):
        make_tracer()


def test_it_is_said_that_opentelemetry_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match="not installed"):
        read_endpoint({ENDPOINT: "http://h:4317"})
