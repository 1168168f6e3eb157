"""The query of a search's URL: every way to write it, and the words of every refusal."""

from typing import Any

import pytest

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from server.messages.json_codec.query import QueryReader, refuse_parameters
from server.messages.refusals import MAX_VIOLATIONS, InvalidRequest
from storage import Query

LEAD = QueryReader(SearchLeadAnalyticsEventsRequest, "lead")
CONTACT = QueryReader(SearchContactAnalyticsEventsRequest, "contact")
LENIENT = QueryReader(SearchLeadAnalyticsEventsRequest, "lead", ignore_unknown=True)
ASKED = "customer_id=c&user_id=u&lead_id=l&recording_id=r"
PATH = "/api/v1/lead_analytics/search?"
TWICE = "is given more than once"
INTEGER = "must be a whole number of at most 32 bits"
UTF8 = "is not UTF-8"


def read(query: str, reader: QueryReader = LEAD) -> Query:
    found, ignored = reader.read(PATH + query)
    assert not ignored
    return found


def refuse(query: str, reader: QueryReader = LEAD) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        reader.read(PATH + query)
    return [(violation.field, violation.description) for violation in caught.value.violations]


def test_a_search_without_the_optional_parameters_has_their_defaults() -> None:
    assert read(ASKED) == Query("c", "lead", "l", "u", ["r"], False, 1, 10)
    assert read(ASKED.replace("lead", "contact"), CONTACT) == Query("c", "contact", "l", "u", ["r"], False, 1, 10)
    asked = f"pageSize=5&latest=true&{ASKED}&page=3"
    assert read(asked) == Query("c", "lead", "l", "u", ["r"], True, 3, 5)


@pytest.mark.parametrize(
    "name",
    [
        *("recording_id", "recording_id[]", "recording_id%5B%5D", "recording_id%5b]", "recording_id[0]"),
        *("recording_id%5B17%5D", "recording%5Fid", "%72ecording_id[]", "recording_id%5B00%5d"),
    ],
)
def test_recordings_are_a_list_however_it_is_written(name: str) -> None:
    query = "customer_id=c&user_id=u&lead_id=l"
    assert read(f"{query}&{name}=a&{name}=b&{name}=a").recording_ids == ["a", "b", "a"]
    assert read(f"{name}=a&{query}&recording_id=b").recording_ids == ["a", "b"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(
            ("a+b", "a b"),
            ("a%2Bb", "a+b"),
            ("a%20b", "a b"),
            ("%C3%A9", "é"),
            ("é", "é"),
            ("%f0%9f%98%80", "\U0001f600"),
        ),
        *(("a%26b%3Dc", "a&b=c"), ("a=b", "a=b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%25", "%"), ("a;b", "a;b")),
        *(("a,b", "a,b"), ("%u0041", "%u0041"), ("#", "#"), ("?", "?"), ("%0A", "\n")),
    ],
)
def test_a_value_is_decoded_once(written: str, value: str) -> None:
    query = f"customer_id={written}&user_id={written}&lead_id={written}&recording_id={written}"
    assert read(query)[:5] == (value, "lead", value, value, [value])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("customer_id=d", "customer_id"), ("customer%5Fid=d", "customer_id"), ("customer_id=c", "customer_id")),
        *(("user_id=", "user_id"), ("lead_id", "lead_id"), ("latest=true&latest=true", "latest")),
        *(("page=1&page=1", "page"), ("pageSize=1&page_size=1", "pageSize"), ("page_size=1&page%5Fsize=1", "pageSize")),
        ("page=x&page=1", "page"),
    ],
)
def test_what_may_stand_once_and_stands_twice_is_refused(query: str, field: str) -> None:
    assert (field, TWICE) in refuse(f"{ASKED}&{query}")
    assert (field, TWICE) in refuse(f"{query}&{ASKED}")


@pytest.mark.parametrize(
    ("parameter", "field", "nearest"),
    [
        *(
            ("foo=1", "foo", ""),
            ("foo", "foo", ""),
            ("=", "=", ""),
            ("=x", "=", ""),
            ("customerId=c", "customerId", "customer_id"),
        ),
        *(("page_Size=1", "page_Size", "pageSize"), ("customer_id[]=c", "customer_id[]", "customer_id")),
        *(
            ("recording_id[a]=c", "recording_id[a]", "recording_id"),
            ("recording_id[=c", "recording_id[", "recording_id"),
        ),
        *(
            ("recording_id[1][2]=c", "recording_id[1][2]", "recording_id"),
            ("recording_id.a=c", "recording_id.a", "recording_id"),
        ),
        *(
            ("contact_id=c", "contact_id", ""),
            ("%C3%A9=1", "é", ""),
            ("%FF=1", "%FF", ""),
            ("%0D%0Ax=1", "\\u000d\\u000ax", ""),
        ),
        *(
            ("limit=5", "limit", ""),
            ("entity_id=5", "entity_id", ""),
            ("h" * 999, "h" * 99 + "…", ""),
            ("+page=1", " page", "page"),
        ),
    ],
)
def test_an_unknown_parameter_is_refused_and_named_decoded(parameter: str, field: str, nearest: str) -> None:
    description = "is not a known parameter" + (f"; did you mean {nearest}?" if nearest else "")
    assert refuse(f"{ASKED}&{parameter}") == [(field, description)]
    assert refuse(f"{parameter}&{ASKED}") == [(field, description)]


def test_unknown_parameters_may_be_ignored_and_are_told_of() -> None:
    query, ignored = LENIENT.read(f"{PATH}a%20b=1&{ASKED}&a%20b&=2&customer_id[]=x")
    assert query == Query("c", "lead", "l", "u", ["r"], False, 1, 10)
    assert ignored == ["a b", "a b", "", "customer_id[]"]


@pytest.mark.parametrize("query", ["", "&", "&&&", "&{}", "{}&", "{}&&"])
def test_what_is_between_two_ampersands_may_be_nothing(query: str) -> None:
    if "{}" in query:
        assert read(query.format(ASKED)) == read(ASKED)
    else:
        assert {field for field, _ in refuse(query)} == {"customer_id", "user_id", "lead_id", "recording_id"}


def test_a_path_without_a_query_asks_for_nothing() -> None:
    with pytest.raises(InvalidRequest) as caught:
        LEAD.read("/api/v1/lead_analytics/search")
    assert {description for _, description in caught.value.violations} == {"value is required"}


@pytest.mark.parametrize(
    ("parameter", "page"),
    [
        *(
            ("page=01", 1),
            ("page=%2B1", 1),
            ("page=%31", 1),
            ("page=10000", 10_000),
            ("page=" + "0" * 99 + "7", 7),
        ),
        *(("page=+1", None), ("page=%201", None), ("page=1%20", None), ("page=1%00", None), ("page=", None)),
        *(("page=1e0", None), ("page=0x1", None), ("page=1_0", None), ("page=%D9%A1", None), ("page=1;--", None)),
        *(("page=99999999999999999999", None), ("page=NaN", None), ("page", None), (f"page={'1' * 10_000}", None)),
        *(
            ("page=2147483648", None),
            ("page=-2147483648", None),
            ("page=1.0", None),
            ("page=1%0A", None),
            ("page=--1", None),
        ),
    ],
)
def test_a_page_is_a_whole_number_or_refused(parameter: str, page: int | None) -> None:
    if page is None:
        assert refuse(f"{ASKED}&{parameter}") == [("page", INTEGER)]
    else:
        assert read(f"{ASKED}&{parameter}").page == page


@pytest.mark.parametrize(
    ("parameter", "field", "fault"),
    [
        ("page=0", "page", "must be greater than or equal to 1"),
        ("page=-0", "page", "must be greater than or equal to 1"),
        ("page=-7", "page", "must be greater than or equal to 1"),
        ("pageSize=0", "pageSize", "must be greater than or equal to 1 and less than or equal to 1000"),
        ("page_size=1001", "pageSize", "must be greater than or equal to 1 and less than or equal to 1000"),
        ("pageSize=ten", "pageSize", INTEGER),
        ("page=10001", "page", "times the page size must be at most 100,000"),
        ("page=2147483647", "page", "times the page size must be at most 100,000"),
        ("page=101&pageSize=1000", "page", "times the page size must be at most 100,000"),
        ("latest=1", "latest", "must be true or false"),
        ("latest=True", "latest", "must be true or false"),
        ("latest=", "latest", "must be true or false"),
        ("latest", "latest", "must be true or false"),
        ("latest=%ED%A0%80", "latest", UTF8),
        ("recording_id=%FF", "recording_id[1]", UTF8),
        ("recording_id=", "recording_id[1]", "must be at least 1 characters"),
    ],
)
def test_a_value_is_refused_under_the_name_of_json(parameter: str, field: str, fault: str) -> None:
    assert refuse(f"{ASKED}&{parameter}") == [(field, fault)]


@pytest.mark.parametrize("name", ["customer_id", "user_id", "lead_id"])
@pytest.mark.parametrize("text", ["%ED%A0%80", "%C0%80", "%FF", "%F4%90%80%80", "a%E2%82"])
def test_a_text_that_is_not_utf8_is_refused_under_its_name(name: str, text: str) -> None:
    assert refuse("&".join(part for part in ASKED.split("&") if name not in part) + f"&{name}={text}") == [(name, UTF8)]


def test_all_faults_of_a_search_come_at_once() -> None:
    query = "page=0&pageSize=x&foo=1&latest=maybe&customer_id=a&customer%5Fid=b&user_id=%00&recording_id=a%00"
    assert refuse(query) == [
        ("pageSize", INTEGER),
        ("foo", "is not a known parameter"),
        ("latest", "must be true or false"),
        ("customer_id", TWICE),
        ("recording_id[0]", "contains substring `\0`"),
        ("user_id", "contains substring `\0`"),
        ("lead_id", "value is required"),
        ("page", "must be greater than or equal to 1"),
    ]


def test_too_many_recordings_are_one_fault_of_the_list() -> None:
    assert len(read(f"{ASKED}{'&recording_id=a' * 499}").recording_ids) == 500
    assert refuse(f"{ASKED}{'&recording_id=a' * 500}") == [("recording_id", "must contain no more than 500 item(s)")]


def test_over_a_thousand_parameters_are_refused_unread() -> None:
    for more in (1_001, 50_000):
        assert refuse(f"{ASKED}{'&recording_id=a' * more}") == [("", "has over 1,000 parameters")]


def test_no_more_unknown_parameters_are_named_than_are_told() -> None:
    query = "&".join(f"customer_id{number}=1" for number in range(1_000))
    assert len([fault for fault in refuse(query) if "not a known" in fault[1]]) == MAX_VIOLATIONS


@pytest.mark.parametrize("query", ["", "?", "?&", "?key=pk_a_b", "?key=pk_a_b&"])
def test_a_create_without_parameters_but_a_publishable_key_is_let_pass(query: str) -> None:
    refuse_parameters(f"/api/v1/lead_analytics{query}")


@pytest.mark.parametrize(
    "query", ["key=", "key", "key=sk_a_b", "key=PK_a", "Key=pk_a", "key[]=pk_a", "key=%FFpk_a", "k%65y=pk_a"]
)
def test_another_key_in_the_url_of_a_create_is_an_unknown_parameter(query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_parameters(f"/api/v1/events?{query}")
    assert [fault.description for fault in caught.value.violations] == ["is not a known parameter"]


def test_a_publishable_key_in_the_url_is_given_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_parameters("/api/v1/events?key=pk_a&key=pk_a&sort=up")
    assert [fault.field for fault in caught.value.violations] == ["sort", "key"]


def test_a_search_knows_no_key() -> None:
    assert refuse(f"{ASKED}&key=pk_a_b") == [("key", "is not a known parameter")]


def test_the_parameters_of_a_create_are_refused_by_name() -> None:
    for query, names in (("message=m&b", ["message", "b"]), ("=", ["="]), ("a%5Fb=1", ["a_b"])):
        with pytest.raises(InvalidRequest) as caught:
            refuse_parameters(f"/api/v1/lead_analytics?{query}")
        assert caught.value.violations == [(name, "is not a known parameter") for name in names]


def test_a_message_that_the_query_reader_does_not_support_is_an_error() -> None:
    request: Any = CreateAnalyticsEventRequest
    with pytest.raises(NotImplementedError, match="version_info"):
        QueryReader(request, "lead")
