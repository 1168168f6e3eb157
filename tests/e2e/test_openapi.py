"""The HTTP API against its OpenAPI document: every response to every request is a documented one.

About 1,400 requests follow from the document, such as each string at its limit and just over it. The tests also send
random ones, as many as `CHAOS_CASES` in the environment says: `make chaos` sends thousands, different ones each time. A
request that fails is reported as a curl command.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from requests.adapters import HTTPAdapter
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from server.messages.search import DEFAULT_PAGE_SIZE, MAX_REACH
from tests.support.contract import MAX_DEPTH, MAX_DIGITS, MAX_JSON, count_digits
from tests.support.processes import ROOT
from tests.support.stack import Stack

CASES = int(os.environ.get("CHAOS_CASES", "120"))

# All of schemathesis's checks are on. Some have nothing to check here: there are no credentials (`ignored_auth`,
# `object_level_authorization`), no required headers (`missing_required_header`), and no resources that can be read or
# deleted one by one (`use_after_free`, `ensure_resource_availability`). `negative_data_rejection` is off for batches,
# where `check_outcomes` does its work, and where `is_not_encoded` says so.
DOCUMENT = schemathesis.openapi.from_path(ROOT / "generated" / "openapi.json")
DOCUMENT.config.output.sanitization.update(enabled=False)  # a failure shows the whole request
# Not QUERY: schemathesis sends no content type with it, which its standard forbids, so Envoy refuses it as malformed.
DOCUMENT.config.phases.coverage.unexpected_methods = {"get", "put", "post", "delete", "options", "patch", "trace"}
# Not watches, whose responses do not end.
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in DOCUMENT.raw_schema["paths"].items()
    for method in methods
    if not path.endswith(":watch")
]

AnyCase = Case[Any]
Check = Callable[[AnyCase], None]


class Compressing(HTTPAdapter):
    """A transport that compresses each body as its headers say. schemathesis sends the headers alone."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        body: Any = request.body
        if isinstance(body, str):
            body = body.encode()
        if body is not None and request.headers.get("content-encoding") == "gzip":
            request.prepare_body(gzip.compress(body), None)
        elif body is not None and request.headers.get("content-encoding") == "deflate":
            request.prepare_body(zlib.compress(body), None)
        return super().send(request, **options)


@pytest.fixture
def check(stack: Stack) -> Iterator[Check]:
    """Return a function that sends a case and checks that the response is documented."""
    with requests.Session() as session:
        session.mount("http://", Compressing())

        def send(case: AnyCase) -> None:
            assert case.meta is not None
            if case.meta.generation.mode.is_positive:
                keep_unwritten_rules(case)
            is_batch = has_events(case.body)
            response = case.call_and_validate(
                base_url=f"http://127.0.0.1:{stack.http_port}",
                session=session,
                excluded_checks=[negative_data_rejection] if is_batch or is_not_encoded(case) else [],
                timeout=20,
            )
            if is_batch:
                check_outcomes(case, response)

        yield send


def test_the_document_is_valid_openapi() -> None:
    DOCUMENT.validate()


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", GenerationMode)
def test_every_response_to_a_random_request_is_documented(label: str, mode: GenerationMode, check: Check) -> None:
    operation = DOCUMENT.find_operation_by_label(label)
    assert operation is not None

    @hypothesis.settings(
        max_examples=max(1, CASES // (2 * len(OPERATIONS))),
        derandomize="CHAOS_CASES" not in os.environ,  # the same cases each time, unless CHAOS_CASES is set
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking a failing case can take minutes
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def send(case: AnyCase) -> None:
        check(case)

    send()


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_response_to_a_request_at_a_limit_is_documented(label: str, check: Check) -> None:
    operation = DOCUMENT.find_operation_by_label(label)
    assert operation is not None
    config = DOCUMENT.config.generation
    modes = list(GenerationMode)
    for case in DOCUMENT.iter_coverage_cases(operation, generation_modes=modes, generation_config=config):
        check(case)


def has_events(body: object) -> bool:
    """Return whether a body is a list of events and no more, so that a batch is not refused for it as a whole."""
    return isinstance(body, dict) and body.keys() == {"events"} and isinstance(body["events"], list)


def is_not_encoded(case: AnyCase) -> bool:
    """Return whether the Content-Encoding header says that there is none. The document does not mention that."""
    return str(case.headers.get("Content-Encoding", "gzip")).strip().lower() in ("", "identity")


def check_outcomes(case: AnyCase, response: Any) -> None:
    """Check that each event of a batch has an outcome, and that some are refused if the body is invalid."""
    if response.status_code != 200:
        return
    assert case.meta is not None
    body: Any = case.body
    answer = response.json()
    assert [outcome["index"] for outcome in answer["outcomes"]] == list(range(len(body["events"])))
    if case.meta.generation.mode.is_positive:
        assert answer["refused_count"] == 0, case.as_curl_command()
    elif case.meta.components[ParameterLocation.BODY].mode.is_negative:
        assert answer["refused_count"], case.as_curl_command()


def keep_unwritten_rules(case: AnyCase) -> None:
    """Change a case that is valid by the document so that it keeps the rules that JSON Schema cannot express."""
    body: Any = case.body
    for name in ("since", "until", "asOf"):
        if case.query.get(name):
            case.query[name] = "2026-01-31T00:00:00Z"
    if case.operation.path.endswith(":summary") and case.query.get("since"):
        case.query["until"] = case.query["since"]  # At most 400 days later, whenever this runs.
    for name in {"pageToken", "resumeToken"} & case.query.keys():
        case.query[name] = ""  # No other one is valid that no response had.
    if "page" in case.query:
        size = int(case.query.get("pageSize", DEFAULT_PAGE_SIZE))
        case.query["page"] = min(int(case.query["page"]), MAX_REACH // size)
    if not isinstance(body, dict):
        return
    if has_events(body):
        case.body = {"events": [repair_event(event, case) for event in body["events"]]}
        return
    if case.operation.path.endswith(":erase"):
        case.body = repair_erasure(body)
        return
    body = repair_event(body, case)
    if case.headers.get("Idempotency-Key", "").strip():
        case.headers["Idempotency-Key"] = make_key(body, case)
    case.body = body


def repair_event(event: dict[str, Any], case: AnyCase) -> dict[str, Any]:
    """Return an event that keeps the unwritten rules, and is the same where it kept them already."""
    event = dict(event)
    for name in ("lead_id", "contact_id"):
        if event.get(name) and event.get("entity_id"):
            event["entity_id"] = event[name]  # both only when equal
    if event.get("version_info") and not is_storable(event["version_info"]):
        event["version_info"] = {}
    if event.get("idempotency_key"):
        event["idempotency_key"] = make_key(event, case)
    return event


def repair_erasure(body: dict[str, Any]) -> dict[str, Any]:
    """Return an erasure with exactly one filter, at a customer of which no other case knows, that blocks nobody."""
    repaired = {"customer_id": f"erased {body['customer_id']}"[:255]}
    for name in ("all_events", "user_id", "older_than_days"):
        if body.get(name):
            return {**repaired, name: body[name]}
    if body.get("entity_id"):
        return {**repaired, "entity_id": body["entity_id"], "entity_type": "lead"}
    return {**repaired, "created_before": "2026-01-31T00:00:00Z"}


def make_key(event: dict[str, Any], case: AnyCase) -> str:
    """Return a key that belongs to one event: derived from it, it is sent again whenever the same event is."""
    text = case.operation.label + json.dumps({**event, "idempotency_key": None})
    return hashlib.sha256(text.encode()).hexdigest()


def is_storable(version_info: dict[str, Any]) -> bool:
    """Return whether an object keeps the rules of `version_info` that are only in words."""
    text = json.dumps(version_info, ensure_ascii=False, separators=(",", ":"))
    numbers: list[str] = []
    json.loads(text, parse_int=numbers.append, parse_float=numbers.append)
    return (
        "\\u0000" not in text
        and len(text.encode()) <= MAX_JSON
        and count_levels(version_info) <= MAX_DEPTH
        and all(count_digits(number) <= MAX_DIGITS for number in numbers)
    )


def count_levels(value: object) -> int:
    """Return how deeply objects and arrays nest in a value."""
    if not isinstance(value, dict | list):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max(map(count_levels, items), default=0)
