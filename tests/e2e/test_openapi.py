"""The HTTP door against its own document: whatever is sent, every answer is a documented one.

About 1,200 cases follow from the document without chance, such as each text at and just over its limit. `CHAOS_CASES`
in the environment is how many random ones are sent besides: `make chaos` sends thousands, others each time. A case that
fails is told as a curl command.
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

# All of schemathesis's checks are on. Some find nothing to look at: `ignored_auth` and `object_level_authorization` no
# credentials, `missing_required_header` no required header, `use_after_free` and `ensure_resource_availability` no
# resource to be read or deleted alone. Where `negative_data_rejection` alone is off, `is_mended` tells.
DOCUMENT = schemathesis.openapi.from_path(ROOT / "generated" / "openapi.json")
DOCUMENT.config.output.sanitization.update(enabled=False)  # a failure shows all that was sent
# Not QUERY: without a content type, as it would come, it is malformed by its own standard, and Envoy says so at once.
DOCUMENT.config.phases.coverage.unexpected_methods = {"get", "put", "post", "delete", "options", "patch", "trace"}
OPERATIONS = [
    f"{method.upper()} {path}" for path, methods in DOCUMENT.raw_schema["paths"].items() for method in methods
]

AnyCase = Case[Any]
Check = Callable[[AnyCase], None]


@pytest.fixture
def check(stack: Stack) -> Iterator[Check]:
    """Sends a case, and checks that the answer is as documented."""
    with requests.Session() as session:

        def send(case: AnyCase) -> None:
            assert case.meta is not None
            if case.meta.generation.mode.is_positive:
                settle(case)
            without: list[Any] = [negative_data_rejection] if is_mended(case) else []
            url = f"http://127.0.0.1:{stack.http_port}"
            case.call_and_validate(base_url=url, session=session, excluded_checks=without, timeout=20)

        yield send


def test_the_document_is_valid_openapi() -> None:
    DOCUMENT.validate()


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_to_a_random_case_is_a_documented_one(label: str, mode: GenerationMode, check: Check) -> None:
    operation = DOCUMENT.find_operation_by_label(label)
    assert operation is not None

    @hypothesis.settings(
        max_examples=max(1, CASES // (2 * len(OPERATIONS))),
        derandomize="CHAOS_CASES" not in os.environ,  # always the same cases, unless there are to be many
        database=None,
        deadline=None,
        phases=[Phase.generate],  # to make a failing case small can take minutes
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def send(case: AnyCase) -> None:
        check(case)

    send()


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_to_a_case_at_a_limit_is_a_documented_one(label: str, check: Check) -> None:
    operation = DOCUMENT.find_operation_by_label(label)
    assert operation is not None
    config = DOCUMENT.config.generation
    modes = list(GenerationMode)
    for case in DOCUMENT.iter_coverage_cases(operation, generation_modes=modes, generation_config=config):
        check(case)


def settle(case: AnyCase) -> None:
    """Makes a case that keeps to the document keep to what no JSON Schema can say, too."""
    body: Any = case.body
    if not isinstance(body, dict):
        return
    body = dict(body)
    for name in ("lead_id", "contact_id"):
        if body.get(name) and body.get("entity_id"):
            body["entity_id"] = body[name]  # both only when equal
    if "\\u0000" in json.dumps(body.get("version_info")):
        body["version_info"] = {}
    # A key belongs to one event alone. Made of that event, it is now and then sent again, as it should be.
    event = case.operation.label + json.dumps({**body, "idempotency_key": None})
    key = hashlib.sha256(event.encode()).hexdigest()
    if body.get("idempotency_key"):
        body["idempotency_key"] = key
    if case.headers.get("Idempotency-Key", "").strip():
        case.headers["Idempotency-Key"] = key
    case.body = body


def is_mended(case: AnyCase) -> bool:
    """Whether the transcoder makes a good request of a bad one, which nothing in Envoy can stop.

    It takes an object for a list of one, drops null from a list, and unpacks lists in a list. An empty key in an event
    it takes or refuses by what it holds.
    """
    body: Any = case.body
    events = body.get("events") if isinstance(body, dict) else None
    if isinstance(events, list):
        return any(not isinstance(event, dict) or "" in event for event in events)
    return isinstance(events, dict)
