"""The compiled rules against protovalidate, which reads the same annotations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from server.messages.compiled_rules import CompiledRules
from server.messages.convert import ANALYTICS, CONTACT, LEAD
from server.messages.validation import find_violations
from tests.support import requests

RULES = {
    requests.analytics_event: ANALYTICS.rules,
    requests.lead_event: LEAD.rules,
    requests.contact_event: CONTACT.rules,
}
# Every length around a limit, in characters of one and of four bytes; U+0000; words of the list and others.
LENGTHS = (255, 256, 2_048, 2_049, 65_536, 65_537)
VALUES = st.sampled_from(["", "x", "a\0b", "\0", "lead", "contact", "Lead", *("x" * n for n in LENGTHS)]) | (
    st.sampled_from(["\U0001f600" * 255, "\U0001f600" * 256])
)


@pytest.mark.parametrize("make", RULES)
@given(data=st.data())
def test_the_rules_hold_exactly_when_protovalidate_finds_nothing(make: Any, data: Any) -> None:
    names = [field.name for field in make("c").DESCRIPTOR.fields if field.name != "version_info"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    customer = changed.pop("customer_id", "c")
    request = make(customer, **changed)
    rules = RULES[make]
    assert rules.hold_for(rules.read(request)) == (not find_violations(request))


@pytest.mark.parametrize("make", RULES)
@given(data=st.data())
def test_the_rules_hold_for_many_when_they_hold_for_each(make: Any, data: Any) -> None:
    names = [field.name for field in make("c").DESCRIPTOR.fields if field.name != "version_info"]
    changes = st.dictionaries(st.sampled_from(names), VALUES, max_size=1)
    changed = data.draw(st.lists(changes, min_size=1, max_size=4))
    rules = RULES[make]
    rows = [rules.read(make(**{"customer": each.pop("customer_id", "c"), **each})) for each in changed]
    assert rules.hold_for_all(list(zip(*rows, strict=True))) == all(map(rules.hold_for, rows))


def test_a_rule_that_is_not_supported_is_an_error_and_not_overlooked() -> None:
    search: Any = SearchContactAnalyticsEventsRequest.DESCRIPTOR
    with pytest.raises(NotImplementedError, match="recording_id"):
        CompiledRules(search, ["customer_id"])
