"""The files that pages load: their size, and that the types are those of the protos."""

import gzip
import re

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from server.messages.statuses import find_event_violation
from server.messages.wording import KEY_REUSED
from storage import KeyInProgress
from tests.support.processes import ROOT

DIRECTORY = ROOT / "server" / "browser"
TYPES = (DIRECTORY / "analytics.d.ts").read_text()
SCRIPT = (DIRECTORY / "analytics.js").read_text()


def test_the_script_is_under_4_kb_as_it_is_sent() -> None:
    assert len(gzip.compress(SCRIPT.encode(), compresslevel=6)) < 4_096


def test_envoy_sends_the_script_and_its_types_whole() -> None:
    limit, _ = re.findall(r"max_direct_response_body_size_bytes: (\d+)", (ROOT / "envoy.yaml").read_text())
    assert max(map(len, (SCRIPT.encode(), TYPES.encode()))) <= int(limit)


def test_the_types_have_each_field_of_an_event_and_which_are_required() -> None:
    (body,) = re.findall(r"interface AnalyticsEvent \{(.*?)\n\}", TYPES, re.DOTALL)
    fields = re.findall(r"^  (\w+)(\??):", body, re.MULTILINE)
    assert [name for name, _ in fields] == [field.json_name for field in CreateAnalyticsEventRequest.DESCRIPTOR.fields]
    required = {"customer_id", "user_id", "recording_id", "event_type", "entity_type", "entity_id"}
    assert {name for name, optional in fields if not optional} == required


def test_the_script_uses_no_cookies_and_stores_nothing_about_the_browser() -> None:
    for name in ("cookie", "userAgent", "screen", "languages", "canvas", "referrer"):
        assert name not in SCRIPT


def test_the_script_knows_the_refusal_of_an_event_that_passes() -> None:
    (pattern,) = re.findall(r"inProgress = /(.*)/;", SCRIPT)
    passing = find_event_violation(KeyInProgress())
    assert passing
    assert re.search(pattern, passing.description)
    assert not re.search(pattern, KEY_REUSED.description)
