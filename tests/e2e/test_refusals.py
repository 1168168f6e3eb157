"""Refusals of what was sent, through the real Envoy: they have one form, whichever part refuses."""

import time

import pytest

from tests.support.http import Http, violations
from tests.support.json_faults import find_place, list_faults

LEAD = "/api/v1/lead_analytics"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
ASKED = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r"}


@pytest.mark.parametrize(
    ("path", "required"),
    [
        (
            "/api/v1/analytics_events",
            {"customer_id", "user_id", "recording_id", "event_type", "entity_id", "entity_type"},
        ),
        (LEAD, {"customer_id", "user_id", "recording_id", "event_type", "lead_id"}),
        ("/api/v1/contact_analytics", {"customer_id", "user_id", "recording_id", "event_type", "contact_id"}),
    ],
)
def test_every_missing_field_is_named_at_once(http: Http, path: str, required: set[str]) -> None:
    assert set(violations(http.post(path, {}))) == required


def test_every_field_over_its_limit_is_named_at_once(http: Http) -> None:
    limits = {
        **dict.fromkeys(GOOD, 255),
        "tool_signature": 255,
        "event_id": 255,
        "name_parser_event_id": 255,
        "recommendation_model_event_id": 255,
        "javascript_local_time": 255,
        "apex_local_time": 255,
        "event_environment_path": 2_048,
        "message": 65_536,
    }
    longest = {name: "é" * limit for name, limit in limits.items()}
    assert http.post(LEAD, longest).status == 201
    assert set(violations(http.post(LEAD, {name: text + "é" for name, text in longest.items()}))) == set(limits)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({**GOOD, "customer_id": 5}, {"customer_id"}),
        ({**GOOD, "customer_id": {"a": "c"}}, {"customer_id"}),
        ({**GOOD, "message": True}, {"message"}),
        ({**GOOD, "message": "a\0b"}, {"message"}),
        ({**GOOD, "entity_id": "another"}, {"lead_id", "entity_id"}),
        ({**GOOD, "version_info": "1.2"}, {"version_info"}),
        ({**GOOD, "version_info": []}, {"version_info"}),
        ({**GOOD, "version_info": {"a\0": 1}}, {"version_info.a\\u0000"}),
        ({**GOOD, "version_info": {"a": [{"b": "\0"}]}}, {"version_info.a[0].b"}),
        ({**GOOD, "version_info": {"a": "x" * 16_384}}, {"version_info"}),
        (
            {**GOOD, "user_id": ["u"], "message": 1, "version_info": {"a": 1e100}},
            {"user_id", "message", "version_info.a"},
        ),
    ],
)
def test_an_invalid_value_is_refused_by_its_field(http: Http, body: object, fields: set[str]) -> None:
    assert set(violations(http.post(LEAD, body))) == fields


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5", b"true", b"-1.5e3", b"[{}]"])
def test_json_that_is_no_object_is_refused_whole(http: Http, body: bytes) -> None:
    assert violations(http.post(LEAD, body)) == {"": "must be a JSON object"}


@pytest.mark.parametrize("body", [b"nonsense", b"\x00", b"\xff", b"'{}'", b"//", b"NaN", b"\xfe\xff\x00{\x00}", b"}"])
def test_a_body_that_is_no_json_at_all_is_refused_by_its_place(http: Http, body: bytes) -> None:
    assert violations(http.post(LEAD, b"\n " + body))[""].startswith(
        "is not valid JSON at line 2, column 2: expected an"
    )
    assert violations(http.post(LEAD, b"")) == {"": "must be a JSON object"}


@pytest.mark.parametrize(
    ("marked", "field"),
    [
        (b"{^^", ""),
        (b'{"customer_id":"c"^^', ""),
        (b'{"customer_id":^^"c', "customer_id"),
        (rb'{"user_id":"CORP^^\jdoe"}', "user_id"),
        (b'{"user_id":"^^\xff"}', "user_id"),
        (rb'{"user_id":"^^\ud800"}', "user_id"),
        (b'{"user_id":^^NaN}', "user_id"),
        (b'{"user_id":"a"^^,}', ""),
        (b"{^^'user_id':'a'}", ""),
        (b'{"user_id":"a"} ^^{}', ""),
        (b'{"version_info":{"a":[1,2^^', "version_info.a"),
    ],
)
def test_what_is_not_strictly_json_is_refused_by_its_place(http: Http, marked: bytes, field: str) -> None:
    body, place = find_place(marked)
    found = list_faults(http.post(LEAD, body))
    assert [name for name, description in found if description.startswith(place)] == [field]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "one"}, "page"),
        ({"page": ""}, "page"),
        ({"page": "1.5"}, "page"),
        ({"page": 2_147_483_648}, "page"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 1_001}, "pageSize"),
        ({"pageSize": "ten"}, "pageSize"),
        ({"latest": "maybe"}, "latest"),
        ({"unknown": "x"}, "unknown"),
        ({"unknown": ""}, "unknown"),
        ({"customer_id[]": "x"}, "customer_id[]"),
        ({"customer_id": ["c", "d"]}, "customer_id"),
        ({"page": [1, 2]}, "page"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 256}, "user_id"),
        ({"recording_id": ""}, "recording_id[0]"),
        ({"recording_id": ["r"] * 501}, "recording_id"),
    ],
)
def test_a_wrong_parameter_is_refused_under_the_name_that_the_caller_wrote(
    http: Http, parameters: dict[str, object], field: str
) -> None:
    assert set(violations(http.search(SEARCH, **{**ASKED, **parameters}))) == {field}


def test_a_search_takes_no_body_and_a_create_no_parameters(http: Http) -> None:
    assert set(violations(http("GET", SEARCH, {"recording_id": ["a"]}))) == {""}
    assert set(violations(http.post(f"{LEAD}?message=m", GOOD))) == {"message"}


def test_a_question_mark_alone_is_no_parameter(http: Http) -> None:
    assert http.post(f"{LEAD}?", GOOD).status == 201
    assert set(violations(http("GET", f"{SEARCH}?"))) == {"customer_id", "user_id", "lead_id", "recording_id"}


def test_a_search_of_ten_thousand_faults_is_refused_without_delay(http: Http) -> None:
    def timed_search() -> float:
        start = time.monotonic()
        answer = http("GET", f"{SEARCH}?{'recording_id=&' * 10_000}")
        assert violations(answer) == {"": "has over 1,000 parameters"}
        return time.monotonic() - start

    # The best of several, so that a busy machine does not matter.
    assert min(timed_search() for _ in range(5)) < 1


def test_the_size_of_a_version_info_is_measured_as_json(http: Http) -> None:
    assert set(violations(http.post(LEAD, {**GOOD, "version_info": {"a": [0] * 250_000}}))) == {"version_info"}
    assert http.post(LEAD, {**GOOD, "version_info": {"a": [0] * 8_000}}).status == 201


@pytest.mark.parametrize("kind", ["lead", "contact"])
def test_every_invalid_parameter_is_named_at_once(http: Http, kind: str) -> None:
    answer = http.search(f"/api/v1/{kind}_analytics/search", page=0, pageSize=0)
    assert set(violations(answer)) == {"customer_id", "user_id", f"{kind}_id", "recording_id", "page", "pageSize"}
