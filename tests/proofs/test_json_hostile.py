"""Hostile bodies: the work on each is bounded, as a multiple of a plain parse, and done in steps."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.messages.convert import ANALYTICS
from server.messages.json_codec.batch import BatchReader
from server.messages.json_codec.create import CreateReader
from server.messages.refusals import InvalidRequest

MEBIBYTE = 1 << 20
# Large enough to use up what may be spent on explaining faults.
SIZE = MEBIBYTE // 4
CREATES = [CreateReader(ANALYTICS, ignore_unknown=ignore) for ignore in (False, True)]
BATCHES = [BatchReader(BatchCreateAnalyticsEventsRequest, ANALYTICS, ignore_unknown=ignore) for ignore in (False, True)]

# Multiples of a plain parse of a mebibyte. On an idle machine the most was 5 for one event, 12 for a batch, and 1 for a
# step. On a busy one, processor time is several times as much.
MOST = 100


def fill(head: str, unit: str, tail: str = "") -> Callable[[int], bytes]:
    """Return a function that makes a body of about so many bytes by repeating `unit`."""

    def make(size: int) -> bytes:
        times = (size - len(head) - len(tail)) // len(unit.encode("utf-8", "surrogateescape"))
        return (head + unit * times + tail).encode("utf-8", "surrogateescape")

    return make


def nest(opening: str, closing: str) -> Callable[[int], bytes]:
    return lambda size: (
        f'{{"a":{opening * (size // len(opening + closing))}1{closing * (size // len(opening + closing))}}}'.encode()
    )


BODIES: dict[str, Callable[[int], bytes]] = {
    "a long text": fill('{"message":"', "x", '"}'),
    "escapes": fill('{"message":"', "\\n", '"}'),
    "bad escapes": fill('{"message":"', "\\j", '"}'),
    "half pairs": fill('{"message":"', "\\ud800", '"}'),
    "hidden colons": fill('{"message":"', "\\u003a", '"}'),
    "not UTF-8": fill('{"message":"', "\udcff", '"}'),
    "no end": fill('{"message":"', '\\"'),
    "quotes": fill("", '"'),
    "one unknown name": fill("{", '"a":1,', '"a":1}'),
    "one known name": fill("{", '"message":"",', '"message":""}'),
    "unknown names": lambda size: json.dumps({f"k{number}": 1 for number in range(size // 14)}).encode(),
    "names that are near": lambda size: json.dumps({f"lead_id{number}": 1 for number in range(size // 20)}).encode(),
    "a long name": fill('{"', "x", '":1}'),
    "one name in version_info": fill('{"version_info":{', '"a":1,', '"a":1}}'),
    "zeros": fill('{"version_info":{"a":[', "0,", "0]}}"),
    "lists": fill('{"version_info":{"a":[', "[],", "0]}}"),
    "empty texts": fill('{"version_info":{"a":[', '"",', "0]}}"),
    "deep enough": fill('{"version_info":{"a":[', "[" * 28 + "]" * 28 + ",", "0]}}"),
    "too deep": fill('{"version_info":{"a":[', "[" * 31 + "]" * 31 + ",", "0]}}"),
    "deeper lists": nest("[", "]"),
    "deeper objects": nest('{"a":', "}"),
    "brackets that are not closed": fill('{"version_info":{"a":', "["),
    "digits": fill('{"version_info":{"a":', "9", "}}"),
    "an exponent": fill('{"version_info":{"a":1e', "9", "}}"),
    "lists for a text": fill('{"message":[', '{"a":[0]},', "0]}"),
    "lines": fill('{"message":5,', "\n", '"a":1}'),
    "commas": fill('{"a":1', ",", "}"),
    "quotes escaped outside of strings": fill('{"a":' + "[" * 200, '\\"', "]" * 200 + "}"),
    "no object": fill("[", "0,", "0]"),
}


def measure(read: Callable[[], Any]) -> tuple[float, float]:
    """Return the processor time of the whole, and of the longest step."""
    start = last = time.process_time()
    longest = 0.0
    try:
        for _ in read():
            longest = max(longest, time.process_time() - last)
            last = time.process_time()
    except InvalidRequest:
        pass
    end = time.process_time()
    return end - start, max(longest, end - last)


def is_quick(read: Callable[[], Any], plain: float) -> bool:
    """Return whether the whole is quick enough in one of three attempts: others may use the machine as well."""
    return any(measure(read)[0] < MOST * plain for _ in range(3))


@pytest.fixture(scope="module")
def plain() -> float:
    """Return the time of a plain parse of a mebibyte."""
    body = fill('{"a":[', '"abc",', "0]}")(MEBIBYTE)
    return min(measure(lambda: [json.loads(body)])[0] for _ in range(5))


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_event_takes_no_longer_than_some_plain_parses(name: str, plain: float) -> None:
    body = BODIES[name](SIZE)
    for reader in CREATES:
        read = reader.read

        def read_once(read: Any = read) -> list[Any]:
            return [read(body)]

        assert is_quick(read_once, plain)


@pytest.mark.parametrize("shape", ["the whole", "one event", "every event", "every event and a bad one"])
@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_batch_takes_bounded_time_in_bounded_steps(name: str, shape: str, plain: float) -> None:
    size = SIZE
    good = b'{"customer_id":"c"}'
    match shape:
        case "the whole":
            body = BODIES[name](size)
        case "one event":
            body = b'{"events":[' + good + b"," + BODIES[name](size - 100) + b"]}"
        case _:
            events = [BODIES[name](size // 1_000)] * 990
            bad = [b'{"message":"\\j"}'] if "bad" in shape else []
            body = b'{"events":[' + b",".join(bad + events) + b"]}"
    for reader in BATCHES:
        total, longest = measure(lambda reader=reader: reader.read(body))  # type: ignore[misc]  # mypy infers no lambda's default
        if total > MOST * plain or longest > MOST * plain:
            total, longest = measure(lambda reader=reader: reader.read(body))  # type: ignore[misc]  # mypy infers no lambda's default
        assert total < MOST * plain
        assert longest < MOST * plain


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_member_beside_the_events_takes_bounded_time(name: str, plain: float) -> None:
    body = b'{"events":[{"customer_id":"c"}],"x":' + BODIES[name](SIZE) + b"}"
    for reader in BATCHES:
        assert is_quick(lambda reader=reader: reader.read(body), plain)  # type: ignore[misc]  # mypy infers no lambda's default


@pytest.mark.parametrize("element", ["{}", "[]", "0", '"\\j"', "[" * 40 + "]" * 40])
def test_a_list_of_millions_is_refused_by_its_first_thousand(element: str, plain: float) -> None:
    body = fill('{"events":[', element + ",", element + "]}")(8 * SIZE)
    for reader in BATCHES:
        with pytest.raises(InvalidRequest) as caught:
            list(reader.read(body))
        assert caught.value.violations[0].description == "must contain no more than 1000 item(s)"
        assert measure(lambda reader=reader: reader.read(body))[0] < MOST * plain  # type: ignore[misc]  # mypy infers no lambda's default
