"""The HTTP API against its OpenAPI document: every response to every request is a documented one.

About 1,200 requests follow from the document, such as each string at its limit and just over it. The tests also send
random ones, as many as `CHAOS_CASES` in the environment says: `make chaos` sends thousands, different ones each time. A
request that fails is reported as a curl command.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from tests.support.processes import ROOT
from tests.support.stack import Stack

CASES = int(os.environ.get("CHAOS_CASES", "180"))

# All of schemathesis's checks are on. Some have nothing to check here: there are no credentials (`ignored_auth`,
# `object_level_authorization`), no required headers (`missing_required_header`), and no resources that can be read or
# deleted one by one (`use_after_free`, `ensure_resource_availability`). `negative_data_rejection` is off where
# `is_repaired` says so.
DOCUMENT = schemathesis.openapi.from_path(ROOT / "generated" / "openapi.json")
DOCUMENT.config.output.sanitization.update(enabled=False)  # a failure shows the whole request
# Not QUERY: schemathesis sends no content type with it, which its standard forbids, so Envoy refuses it as malformed.
DOCUMENT.config.phases.coverage.unexpected_methods = {"get", "put", "post", "delete", "options", "patch", "trace"}
OPERATIONS = [
    f"{method.upper()} {path}" for path, methods in DOCUMENT.raw_schema["paths"].items() for method in methods
]

AnyCase = Case[Any]
Check = Callable[[AnyCase], None]


@pytest.fixture
def check(stack: Stack) -> Iterator[Check]:
    """Return a function that sends a case and checks that the response is documented."""
    with requests.Session() as session:

        def send(case: AnyCase) -> None:
            assert case.meta is not None
            if case.meta.generation.mode.is_positive:
                keep_unwritten_rules(case)
            excluded: list[Any] = [negative_data_rejection] if is_repaired(case) else []
            url = f"http://127.0.0.1:{stack.http_port}"
            case.call_and_validate(base_url=url, session=session, excluded_checks=excluded, timeout=20)

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


def keep_unwritten_rules(case: AnyCase) -> None:
    """Change a case that is valid by the document so that it keeps the rules that JSON Schema cannot express."""
    body: Any = case.body
    if not isinstance(body, dict):
        return
    body = dict(body)
    for name in ("lead_id", "contact_id"):
        if body.get(name) and body.get("entity_id"):
            body["entity_id"] = body[name]  # both only when equal
    if "\\u0000" in json.dumps(body.get("version_info")):
        body["version_info"] = {}
    # A key belongs to one event. Derived from the event, it is sent again whenever the same event is.
    event = case.operation.label + json.dumps({**body, "idempotency_key": None})
    key = hashlib.sha256(event.encode()).hexdigest()
    if body.get("idempotency_key"):
        body["idempotency_key"] = key
    if case.headers.get("Idempotency-Key", "").strip():
        case.headers["Idempotency-Key"] = key
    case.body = body


def is_repaired(case: AnyCase) -> bool:
    """Return whether Envoy's transcoder may turn this invalid request into a valid one.

    The transcoder has no option against it: it reads an object as a list of one, drops null from a list, flattens
    nested lists, and may accept an empty key in an event.
    """
    body: Any = case.body
    events = body.get("events") if isinstance(body, dict) else None
    if isinstance(events, list):
        return any(not isinstance(event, dict) or "" in event for event in events)
    return isinstance(events, dict)
