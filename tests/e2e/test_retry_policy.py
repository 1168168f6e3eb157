"""The policy that callers paste, while the worker that their calls are in dies: each event is stored, and once."""

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import WriteAnalyticsEventsRequest
from tests.chaos.faults import all_serve
from tests.support.access import make_key
from tests.support.browser import stored_messages
from tests.support.in_process import Client
from tests.support.languages import export_protos, start_node
from tests.support.processes import ROOT
from tests.support.requests import analytics_event, lead_event
from tests.support.retries import HASTY, exhaust, retrying_client
from tests.support.stack import Stack, running
from tests.support.template import Template
from tests.support.until import until

CALLS = 20
SECONDS = 50

NODE_PROGRAM = """
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [protos, policy, target, customer, calls, credentials] = process.argv.slice(1);
const file = "data_analytics/v1/lead_analytics_service.proto";
const { v1 } = grpc.loadPackageDefinition(loadSync(file, { includeDirs: [protos], keepCase: true })).data_analytics;
const options = { "grpc.service_config": readFileSync(policy, "utf8") };
const leads = new v1.LeadAnalyticsService(target, grpc.credentials.createInsecure(), options);

const metadata = new grpc.Metadata();
if (credentials) metadata.set("authorization", `Bearer ${credentials}`);

const create = (message) =>
  new Promise((resolve) => {
    const required = { customer_id: customer, user_id: "u", recording_id: "r", event_type: "view", lead_id: "l" };
    const event = { ...required, message, idempotency_key: message };
    const options = { deadline: Date.now() + 50_000 };
    leads.CreateLeadAnalyticsEvent(event, metadata, options, (error) => resolve(error?.message ?? ""));
  });

console.log(await create("first"));
process.stdin.once("data", async () => {
  const results = Array.from({ length: +calls }, (_, number) => create(`${number}`));
  console.log("called");
  console.log(JSON.stringify(await Promise.all(results)));
  process.exit();
});
"""


# A worker that has run for so long is started again at once when it dies.
STEADY_SECONDS = 5


@pytest.fixture(scope="module")
def common_stack(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Stack]:
    """Run a stack for the tests that kill its first worker. It has a standby."""
    with running(template.copy_to(tmp_path_factory.mktemp("fragile") / "stack")) as stack:
        yield stack.wait_until_up()


@pytest.fixture
def fragile_stack(common_stack: Stack) -> Stack:
    """Return the stack once it has recovered from what the test before has done to it."""
    until(lambda: all_serve(common_stack))
    worker = common_stack.number_of("server-1")
    until(lambda: time.time() - Path(f"/proc/{worker}").stat().st_ctime > STEADY_SECONDS)
    return common_stack


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_protos(tmp_path_factory.mktemp("exported") / "protos")


@pytest.fixture(params=["grpc_port", "http_port"], ids=["directly", "through Envoy"])
def port(fragile_stack: Stack, request: pytest.FixtureRequest) -> int:
    found: int = getattr(fragile_stack, request.param)
    return found


@contextlib.contextmanager
def dying(stack: Stack) -> Iterator[None]:
    """Let the first worker answer nothing while the block runs, and then kill it."""
    worker = stack.number_of("server-1")
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
        time.sleep(1)  # The calls go out.
    finally:
        os.kill(worker, signal.SIGKILL)


def check_stored(stack: Stack, customer: str, *more: str) -> None:
    """Check that each event of a customer is stored once."""
    assert Counter(stored_messages(stack, customer)) == Counter(["first", *map(str, range(CALLS)), *more])


def test_python_stores_each_event_once_though_a_worker_dies(fragile_stack: Stack, port: int, customer: str) -> None:
    with retrying_client(port) as client, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unaided = Client(channel)
        for each in (client, unaided):  # Both are connected while the worker still answers.
            event = lead_event(customer, message="first", idempotency_key="first")
            each.leads.CreateLeadAnalyticsEvent(event, timeout=SECONDS)
        with dying(fragile_stack):
            calls = [call_later(client, customer, number) for number in range(CALLS)]
            lost = [call_later(unaided, customer, number) for number in range(CALLS)]
            responses = client.events.WriteAnalyticsEvents(make_chunks(customer), timeout=SECONDS)
        for call in calls:
            call.result()
        # A stream without a response is begun again.
        assert [response.committed.stored_count for response in responses] == [2]
        # Without the policy a death is seen.
        assert grpc.StatusCode.UNAVAILABLE in {call.code() for call in lost}
    check_stored(fragile_stack, customer, "streamed 0", "streamed 1")


def make_chunks(customer: str) -> Iterator[WriteAnalyticsEventsRequest]:
    """Yield a chunk of two events."""
    messages = ["streamed 0", "streamed 1"]
    events = [analytics_event(customer, message=message, idempotency_key=message) for message in messages]
    yield WriteAnalyticsEventsRequest(events=events)


def call_later(client: Client, customer: str, number: int) -> Any:
    """Begin to store an event, and return the call."""
    event = lead_event(customer, message=str(number), idempotency_key=str(number))
    return client.leads.CreateLeadAnalyticsEvent.future(event, timeout=SECONDS)


def test_node_stores_each_event_once_though_a_worker_dies(
    fragile_stack: Stack, port: int, customer: str, protos: Path
) -> None:
    policy = str(ROOT / "docs" / "retry-policy.json")
    with start_node(NODE_PROGRAM, str(protos), policy, f"127.0.0.1:{port}", customer, str(CALLS)) as node:
        try:
            assert node.stdin
            assert node.stdout
            assert node.stdout.readline() == "\n"
            with dying(fragile_stack):
                node.stdin.write("go\n")
                node.stdin.flush()
                assert node.stdout.readline() == "called\n"
            out, err = node.communicate(timeout=SECONDS)
        finally:
            node.kill()
    assert (json.loads(out), err) == ([""] * CALLS, "")
    check_stored(fragile_stack, customer)


def test_node_waits_as_long_as_the_server_says(guarded: Stack, customer: str, protos: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(HASTY)
    key = make_key(guarded.database_url, "secret", customer, "--events-per-second", "1")
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        exhaust(Client(channel), customer, key)
    target = f"127.0.0.1:{guarded.grpc_port}"
    with start_node(NODE_PROGRAM, str(protos), f"{tmp_path}/policy.json", target, customer, "0", key) as node:
        try:
            assert node.stdout
            assert node.stdout.readline() == "\n"
        finally:
            node.kill()
