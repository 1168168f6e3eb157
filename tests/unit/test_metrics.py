"""Counters, histograms and their text, and the kinds of rules by which refusals are counted."""

import pytest

from server.messages.convert import ANALYTICS, LEAD
from server.messages.json_codec.create import CreateReader
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.rules import RULES, name_rule
from server.messages.statuses import list_causes
from server.messages.validation import find_violations
from server.messages.wording import EVENT_NOT_PERMITTED
from server.metrics.exposition import Exposition, merge
from server.metrics.instruments import Counter, Histogram, Reading
from server.metrics.names import name_type
from tests.support.prometheus import parse, run_promtool, total

GOOD = '"customer_id":"c","user_id":"u","lead_id":"l","recording_id":"r"'


def make(worker: str) -> str:
    """Return the text of a worker with one of each kind of metric."""
    counter = Counter("events_total", "Events.", ["lane"])
    counter.begin("batches")
    counter.add("creates")
    counter.add("creates", amount=4)
    histogram = Histogram("wait_seconds", "Waiting.", ["lane"], (0.1, 1.0))
    series = histogram.find("creates")
    assert histogram.find("creates") is series
    histogram.find("never observed")
    for value in (0.05, 0.1, 0.5, 7.25):
        series.observe(value)
    exposition = Exposition(worker, [counter, histogram])
    exposition.add(Reading("queue", "Length.", ["lane"]), lambda: 3, "creates")
    exposition.add(Reading("queue_bytes", "Size."), lambda: 1.5)
    return exposition.render()


def test_the_text_has_what_was_counted_and_observed() -> None:
    samples = parse(make("1"))
    assert total(samples, "events_total", lane="creates", worker="1") == 5
    assert ("events_total", frozenset({("lane", "batches"), ("worker", "1")})) in samples
    bounds = {bound: total(samples, "wait_seconds_bucket", le=bound) for bound in ("0.1", "1", "+Inf")}
    assert bounds == {"0.1": 2, "1": 3, "+Inf": 4}
    assert total(samples, "wait_seconds_count") == 4
    assert total(samples, "wait_seconds_sum") == pytest.approx(7.9)
    assert "never observed" not in make("1")
    assert (total(samples, "queue", lane="creates"), total(samples, "queue_bytes")) == (3, 1.5)


def test_the_texts_of_several_workers_are_put_together_by_metric() -> None:
    odd = 'a"b\\c\nd'
    merged = merge([make("1"), "", make(odd)])
    assert merged.count("# HELP events_total ") == merged.count("# TYPE wait_seconds histogram\n") == 1
    samples = parse(merged)
    assert len(samples) == 2 * len(parse(make("1")))
    assert total(samples, "events_total", lane="creates", worker=odd) == 5


def test_prometheus_itself_finds_nothing_wrong_with_the_text() -> None:
    text = merge([make("1"), make("2")])
    ran = run_promtool("check", "metrics", text=text)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (f"{{{GOOD}}}", "required"),
        ('{"customer_id":"c","user_id":"u","recording_id":"r","event_type":"v"}', "required"),
        (f'{{{GOOD},"event_type":"{300 * "x"}"}}', "too_long"),
        (f'{{{GOOD},"event_type":"v","color":"red"}}', "unknown_field"),
        (f'{{{GOOD},"event_type":7}}', "wrong_type"),
        (f'{{{GOOD},"event_type":"v"', "malformed"),
        (f'{{{GOOD},"event_type":"v","event_type":"v"}}', "malformed"),
        (f'{{{GOOD},"event_type":"v","idempotency_key":"{300 * "k"}"}}', "idempotency_key"),
        (f'{{{GOOD},"event_type":"\\u0000"}}', "other"),
    ],
)
def test_a_refusal_is_counted_by_the_kind_of_its_rule(body: str, rule: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CreateReader(LEAD, ignore_unknown=False).read(body.encode(), "")
    assert name_rule(caught.value.violations[0]) == rule


def test_each_refusal_has_one_of_few_kinds() -> None:
    assert name_rule(EVENT_NOT_PERMITTED) == "not_permitted"
    violations = find_violations(ANALYTICS.request(entity_type="x", customer_id=300 * "c"))
    assert {name_rule(each) for each in violations} == {"required", "too_long", "wrong_type"}
    assert name_rule(FieldViolation("any", "what nobody has thought of")) in RULES
    names = [name_type(each) for each in list_causes()]
    assert len(names) == len(set(names)) < 60
    assert {"database_unavailable", "invalid_request", "over_rate"} <= set(names)
