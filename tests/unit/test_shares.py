"""Shares: no customer holds more than is left for the others."""

from server.sharing.shares import Shares


def take_all(shares: Shares, customer: str) -> int:
    """Take one after another until there is no more for this customer, and return how many it got."""
    count = 0
    while shares.take(customer):
        count += 1
    return count


def test_one_customer_can_hold_half() -> None:
    shares = Shares(1_000)
    assert take_all(shares, "greedy") == 500


def test_another_still_gets_half_of_the_rest() -> None:
    shares = Shares(1_000)
    take_all(shares, "greedy")
    assert take_all(shares, "other") == 250


def test_all_come_to_hold_the_same_and_leave_as_much_for_one_more() -> None:
    shares = Shares(1_000)
    held = {customer: take_all(shares, customer) for customer in ("first", "second", "third")}
    assert held == {"first": 500, "second": 250, "third": 125}
    for _ in range(500):
        for customer in held:
            shares.give_back(customer)
            held[customer] += take_all(shares, customer) - 1
    assert all(240 <= count <= 260 for count in (*held.values(), shares.free))


def test_what_is_given_back_can_be_taken_again() -> None:
    shares = Shares(10)
    for _ in range(100):
        assert shares.take("first", 5)
        assert not shares.take("first", 1)
        shares.give_back("first", 5)
    assert shares.free == 10


def test_an_amount_that_is_too_large_takes_nothing() -> None:
    shares = Shares(10)
    assert not shares.take("first", 6)
    assert shares.free == 10
    assert shares.take("first", 0)
    assert shares.take("first", 5)
    shares.give_back("first", 5)
    shares.give_back("first", 0)
    assert take_all(shares, "first") == 5
