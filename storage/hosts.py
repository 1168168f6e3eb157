"""The hosts of a database that has several: a primary and its standbys, in whatever roles they are at the moment."""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from storage.errors import DatabaseUnavailable

T = TypeVar("T")

_TARGET = "target_session_attrs"

# By URL, the host that was found last. To try the others first would cost a time-out for each connection, if they are
# switched off.
_found: dict[str, int] = {}


def try_hosts(url: str, parameters: Mapping[str, Any], connect: Callable[[dict[str, Any]], T]) -> T:
    """Return the connection to the first host that accepts one, and is in the role that is asked for.

    Of several hosts, the one is meant that takes events, unless the URL or the environment says otherwise. libpq would
    do this itself, but not in asynchronous mode: there it would spend all of the time limit on a host that does not
    answer.

    Args:
        url: the URL of the database.
        parameters: its parameters, with lists of hosts as libpq has them.
        connect: opens a connection to a single host, or raises DatabaseUnavailable.

    Raises:
        DatabaseUnavailable: none of them does. The text says why, of each.
    """
    reasons: dict[str, None] = {}
    for number, each in _order(url, _split(parameters)):
        try:
            connection = connect(each)
        except DatabaseUnavailable as error:
            reasons[str(error)] = None
        else:
            _found[url] = number
            return connection
    raise DatabaseUnavailable("; ".join(reasons))


def _split(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters for each host."""
    lists = {key: str(parameters[key]).split(",") for key in ("host", "hostaddr", "port") if parameters.get(key)}
    count = max(map(len, lists.values()), default=1)
    hosts = [{**parameters, **{key: each[min(n, len(each) - 1)] for key, each in lists.items()}} for n in range(count)]
    if count > 1 and not (parameters.get(_TARGET) or os.environ.get("PGTARGETSESSIONATTRS")):
        hosts = [{**each, _TARGET: "read-write"} for each in hosts]
    return hosts


def _order(url: str, hosts: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the hosts in the order in which they are to be tried, each with its number."""
    numbers = list(range(len(hosts)))
    if hosts[0].get("load_balance_hosts") == "random":
        random.shuffle(numbers)
    if hosts[0].get(_TARGET) == "prefer-standby" and len(hosts) > 1:
        # As libpq does with the whole list.
        yield from ((number, {**hosts[number], _TARGET: "standby"}) for number in numbers)
        yield from ((number, {**hosts[number], _TARGET: "any"}) for number in numbers)
        return
    last = _found.get(url, 0)
    if last < len(numbers) and hosts[0].get("load_balance_hosts") != "random":
        numbers.sort(key=lambda number: number != last)
    yield from ((number, hosts[number]) for number in numbers)
