"""How old what a replica has is, by the positions of the primary's log."""

from storage.positions import Positions


def test_the_age_is_that_of_the_newest_position_that_was_replayed() -> None:
    positions = Positions()
    for moment, position in ((10.0, 100), (10.5, 100), (11.0, 300), (11.5, 400)):
        positions.note(moment, position)
    assert positions.find_age(399, now=12.0) == 1.0
    assert positions.find_age(100, now=12.0) == 1.5
    assert positions.find_age(5_000, now=12.0) == 0.5
    assert positions.find_age(99, now=12.0) == float("inf")


def test_what_was_noted_long_ago_is_forgotten() -> None:
    positions = Positions()
    for second in range(100):
        positions.note(float(second), second)
    assert positions.find_age(10, now=100.0) == float("inf")
    assert positions.find_age(95, now=100.0) == 5.0
