"""Which reads may be of a replica, which is some seconds behind."""

import time

from storage import ExportQuery, ListQuery, Place, Query
from storage.ids import FIRST, LAST, make_bound
from storage.readers import may_lag


def ago(seconds: float) -> str:
    """Return a bound of ids that were made so long ago."""
    return make_bound(int((time.time() - seconds) * 1000))


def search(page: int = 1, place: Place | None = None) -> Query:
    return Query("c", "lead", "l", "u", ["r"], latest=False, page=page, page_size=10, place=place)


def test_what_begins_may_be_of_a_replica() -> None:
    assert may_lag(search())
    assert may_lag(search(place=Place(ago(0))))
    assert may_lag(ListQuery("c", (), FIRST, LAST, 10))
    assert may_lag(ExportQuery("c", (), FIRST, LAST))


def test_what_goes_on_is_of_the_primary_unless_it_is_about_older_events() -> None:
    assert not may_lag(search(page=2))
    for seconds, expected in ((10, False), (600, True)):
        assert may_lag(search(page=2, place=Place(ago(seconds)))) is expected
        assert may_lag(ListQuery("c", (), FIRST, ago(seconds), 10)) is expected
        assert may_lag(ExportQuery("c", (), ago(700), ago(seconds))) is expected
