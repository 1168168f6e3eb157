"""The check of the protos against the last release, and the README of the stubs."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from data_analytics.v1.event_pb2 import LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from tests.support.processes import ROOT

Check = Callable[[str, str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def check_after(tmp_path: Path) -> Check:
    """Return a function that replaces a part of event.proto, given as a regular expression, and runs the check.

    It works on a copy of the protos.
    """
    protos = tmp_path / "protos"
    shutil.copytree(ROOT / "protos", protos, ignore=shutil.ignore_patterns("__pycache__"))

    def replace_and_check(pattern: str, replacement: str) -> "subprocess.CompletedProcess[str]":
        proto = protos / "data_analytics" / "v1" / "event.proto"
        changed, count = re.subn(pattern, replacement, proto.read_text())
        assert count == 1
        proto.write_text(changed)
        return subprocess.run([sys.executable, protos / "check.py"], capture_output=True, text=True, check=False)

    return replace_and_check


def test_the_protos_keep_to_the_last_release(check_after: Check) -> None:
    checked = check_after(r"\Z", "\n")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"\n.* row_count = 3 .*", "", 'field "3" with name "row_count" on message "PageMeta" was deleted'),
        ("row_count = 3 ", "row_count = 9 ", 'field "3" with name "row_count" on message "PageMeta" was deleted'),
        ('"rowCount"', '"row_count"', '"row_count" on message "PageMeta" changed option "json_name"'),
    ],
    ids=["deleted", "renumbered", "renamed in JSON"],
)
def test_a_change_to_a_released_field_is_refused_with_advice(
    check_after: Check, pattern: str, replacement: str, complaint: str
) -> None:
    checked = check_after(pattern, replacement)
    assert checked.returncode == 1
    assert complaint in checked.stderr
    assert "make the change compatible" in checked.stderr


def test_a_field_may_be_added(check_after: Check) -> None:
    added = '\n  // The number of pages.\n  int32 page_count = 9 [json_name = "pageCount"];'
    checked = check_after(r"(row_count = 3 .*)", rf"\1{added}")
    assert checked.returncode == 0, checked.stderr


def test_the_example_in_the_readme_of_the_stubs_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "generated" / "README.md").read_text(), re.DOTALL)
    keys = []

    def create(request: CreateLeadAnalyticsEventRequest, context: grpc.ServicerContext) -> LeadAnalyticsEvent:
        keys.append(dict(context.invocation_metadata()).get("idempotency-key"))
        return LeadAnalyticsEvent(partition_key=f"{request.customer_id}|{request.lead_id}")

    handler = grpc.unary_unary_rpc_method_handler(
        create, CreateLeadAnalyticsEventRequest.FromString, LeadAnalyticsEvent.SerializeToString
    )
    service = grpc.method_handlers_generic_handler(
        "data_analytics.v1.LeadAnalyticsService", {"CreateLeadAnalyticsEvent": handler}
    )
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, [service])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        program = example.replace("localhost:50051", f"127.0.0.1:{port}")
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        server.stop(None).wait()
    assert (ran.stdout, ran.stderr) == ("acme|lead-1\n", "")
    assert len(keys) == 1
    assert keys[0]
