import pytest

from data_analytics.v1.event_pb2 import RecordedEvent
from server.messages.page_size import MAX_PAGE_BYTES, check_page_size
from storage import PageTooLarge


def check_page(message: str, count: int) -> None:
    page = [RecordedEvent(customer_id="c", message=message)] * count
    check_page_size(page, sum(map(RecordedEvent.ByteSize, page)))


@pytest.mark.parametrize(
    ("character", "json_bytes"),
    [
        ("a", 1),
        ("é", 2),
        ("\U0001f600", 4),
        ('"', 2),
        ("\\", 2),
        ("\n", 2),
        ("\1", 6),
        ("<", 6),
        ("\x7f", 6),
        ("\u2028", 6),
    ],
)
def test_a_page_is_measured_as_json_and_not_as_protobuf(character: str, json_bytes: int) -> None:
    message = character * 65_000
    fits = MAX_PAGE_BYTES // (65_000 * json_bytes + 400)
    check_page(message, fits)
    with pytest.raises(PageTooLarge):
        check_page(message, fits + 2)


def test_a_full_page_of_ordinary_events_is_not_too_large() -> None:
    check_page("an ordinary message", 1_000)
