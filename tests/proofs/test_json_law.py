"""The law: for every message, our JSON and protobuf's `json_format` agree, both ways.

They differ in this, as the contract has it, and in nothing else:

1. A number of `version_info` is kept as it was sent, while a message holds a double. So the limit on its size may fall
   differently where it has numbers.
2. A fault inside `version_info` has the path to it, and all of them are told. Of a message, the first is told, as a
   fault of `version_info` itself.
3. json_format writes or reads what is no JSON, or what the contract does not allow: NaN and the infinities, half a
   surrogate pair. A byte order mark it refuses. A value that is not set, which JSON does not have, it writes as null.
"""

import json
import random
import urllib.parse
from typing import Any

from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseError, SerializeToJsonError
from hypothesis import given, settings
from hypothesis import strategies as st

from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from server.messages.convert import ANALYTICS, CONTACT, LEAD
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.fields import Read
from server.messages.json_codec.query import QueryReader
from server.messages.json_codec.strict import Unreadable
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.search import to_query
from server.messages.wording import VERSION_INFO_NOT_SET, limit_json_bytes
from storage import Event
from storage.event import TEXT_COUNT
from tests.support import json_oracle
from tests.support.contract import MAX_JSON
from tests.support.hostile import KEYS, TROUBLE, creates

READERS = {kind.request: CreateReader(kind) for kind in (ANALYTICS, LEAD, CONTACT)}
NOT_SET = FieldViolation("version_info", VERSION_INFO_NOT_SET)
TOO_LARGE = FieldViolation("version_info", limit_json_bytes(MAX_JSON))


def outcome(ask: Any) -> tuple[Event | None, list[FieldViolation]]:
    try:
        return ask(), []
    except InvalidRequest as error:
        return None, error.violations


def same(event: Event) -> tuple[Any, ...]:
    """The event but for its id and times, with the value of its `version_info`."""
    version_info = None if event.version_info is None else json.loads(event.version_info, parse_int=float)
    return (*event[:TEXT_COUNT], version_info)


def has_long_numbers(message: Any) -> bool:
    """Whether `version_info` has a number that is not always written with the same digits."""
    numbers: list[str] = []
    json.loads(MessageToJson(message.version_info), parse_float=numbers.append, parse_int=numbers.append)
    return any(len(number) > 15 or "." in number for number in numbers)


@settings(max_examples=60, deadline=None)
@given(creates(), KEYS, st.booleans(), st.booleans(), st.sampled_from((None, 2)))
def test_a_message_written_by_json_format_is_read_as_the_message(
    message: Any, key: str, print_absent: bool, ascii_only: bool, indent: int | None
) -> None:
    try:
        text = MessageToJson(
            message, always_print_fields_with_no_presence=print_absent, ensure_ascii=ascii_only, indent=indent
        )
    except SerializeToJsonError:
        return  # NaN, or an infinity.
    reader = READERS[type(message)]
    event, violations = outcome(lambda: reader.read(text.encode(), key)[0])
    expected, theirs = outcome(lambda: reader.kind.to_event(message, key))
    inside = [each for each in violations if each.field.startswith("version_info")]
    inside_theirs = [each for each in theirs if each.field == "version_info"]
    if TOO_LARGE in inside + inside_theirs and inside != inside_theirs and has_long_numbers(message):
        return  # By rule 1.
    if event is not None and NOT_SET in theirs:
        return  # By rule 3.
    if event is not None and expected is not None:
        assert same(event) == same(expected)
        return
    assert [each for each in violations if each not in inside] == [each for each in theirs if each not in inside_theirs]
    assert bool(inside) == bool(inside_theirs) or inside_theirs == [NOT_SET]
    if NOT_SET not in theirs:
        assert {each.description for each in inside_theirs} <= {each.description for each in inside}


def test_a_body_that_is_accepted_is_read_so_by_json_format() -> None:
    rng = random.Random(1)
    reader = READERS[ANALYTICS.request]
    accepted = refused = 0
    for _ in range(10_000):
        body = json_oracle.make_random_event(rng)
        if rng.random() < 0.9:
            body = json_oracle.mutate(rng, body)
        try:
            read = Read(*reader.fields.read(body))
        except Unreadable:
            read = None
        try:
            message: Any = Parse(body, ANALYTICS.request())
        except (ParseError, UnicodeDecodeError, RecursionError):
            message = None
        if read is not None:
            accepted += 1
            assert message is not None, body
            assert ANALYTICS.rules.read(message) == read.texts, body
            assert message.HasField("version_info") == (read.version_info is not None), body
            if read.version_info is not None:
                assert MessageToDict(message.version_info) == json.loads(read.version_info, parse_int=float), body
        elif message is not None:
            refused += 1
            assert is_refused_by_contract(body, message), body
    assert accepted > 1_000
    assert refused > 0


def is_refused_by_contract(body: bytes, message: Any) -> bool:
    """Whether json_format reads a body that the contract does not allow."""
    if any(word in body for word in (b"NaN", b"Infinity")) or b"\\u" in body.lower():
        return True  # By rule 3, or U+0000.
    event, violations = outcome(lambda: ANALYTICS.to_event(message))
    return event is None and any(each.field == "version_info" for each in violations)


SEARCHES = ((SearchLeadAnalyticsEventsRequest, "lead"), (SearchContactAnalyticsEventsRequest, "contact"))
QUERY_READERS = {request: QueryReader(request, entity) for request, entity in SEARCHES}
TEXTS = st.sampled_from(("a", "a b", "+", "%", "&=#", "x" * 255, "x" * 256, "", "\0", *TROUBLE)) | st.text(
    st.characters(codec="utf-8"), max_size=5
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("customer_id", "user_id", "entity"), TEXTS),
        "recording_id": st.lists(TEXTS, max_size=4) | st.just(["r"] * 500) | st.just(["r"] * 501),
        "latest": st.booleans(),
        "page": st.sampled_from((-1, 0, 1, 7, 2**31 - 1)),
        "page_size": st.sampled_from((-(2**31) + 1, 0, 1, 10, 1_000, 1_001)),
    },
)
NAMES = {"recording_id": ("recording_id", "recording_id[]", "recording_id[0]"), "page_size": ("pageSize", "page_size")}


@settings(deadline=None)
@given(st.sampled_from(SEARCHES), PARAMETERS, st.randoms(use_true_random=False), st.booleans())
def test_a_query_is_read_as_the_message_of_the_same_search(
    search: tuple[Any, str], fields: dict[str, Any], rng: random.Random, plus: bool
) -> None:
    request, entity = search
    if "entity" in fields:
        fields[f"{entity}_id"] = fields.pop("entity")
    quote = urllib.parse.quote_plus if plus else urllib.parse.quote
    pairs = []
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            text = str(item).lower() if isinstance(item, bool) else str(item)
            written = rng.choice(NAMES.get(name, (name,)))
            pairs.append((quote(written) if rng.random() < 0.5 else written) + "=" + quote(text))
    message = request(**fields)
    query, violations = outcome(lambda: QUERY_READERS[request].read("/search?" + "&".join(pairs))[0])
    expected, theirs = outcome(lambda: to_query(message, entity, getattr(message, f"{entity}_id")))
    assert query == expected
    assert violations == [each._replace(field="pageSize") if each.field == "page_size" else each for each in theirs]
