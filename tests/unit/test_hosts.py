"""In which order the hosts of a URL are tried, and in which role each has to be."""

from typing import Any

import psycopg2.extensions
import pytest

from storage import DatabaseUnavailable
from storage.hosts import try_hosts


def find(url: str, *up: tuple[str, str]) -> list[str]:
    """Return what is tried, as host, port and role, until one is among those that accept a connection."""
    tried: list[str] = []

    def connect(parameters: dict[str, Any]) -> str:
        host, role = parameters["host"], parameters.get("target_session_attrs", "any")
        tried.append(f"{host}:{parameters['port']} {role}")
        if (host, role) not in up:
            raise DatabaseUnavailable(f"{host} is no {role}")
        return tried[-1]

    assert try_hosts(url, psycopg2.extensions.parse_dsn(url), connect) == tried[-1]
    return tried


def test_of_several_hosts_the_one_that_takes_events_is_meant() -> None:
    assert find("postgresql://h:1/d", ("h", "any")) == ["h:1 any"]
    url = "postgresql://first:1,second:2/d"
    assert find(url, ("second", "read-write")) == ["first:1 read-write", "second:2 read-write"]


def test_the_host_that_was_found_last_is_tried_first() -> None:
    url = "postgresql://a:1,b:1,c:1/last"
    assert find(url, ("c", "read-write"))[-1] == "c:1 read-write"
    assert find(url, ("c", "read-write")) == ["c:1 read-write"]
    assert find(url, ("a", "read-write")) == ["c:1 read-write", "a:1 read-write"]


def test_where_standbys_are_preferred_a_primary_comes_last() -> None:
    url = "postgresql://a:1,b:1/d?target_session_attrs=prefer-standby"
    for _ in range(2):
        assert find(url, ("a", "any"), ("b", "standby")) == ["a:1 standby", "b:1 standby"]
        assert find(url, ("a", "any")) == ["a:1 standby", "b:1 standby", "a:1 any"]


def test_the_role_that_the_environment_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    assert find("postgresql://a:1,b:1/environment", ("a", "any")) == ["a:1 any"]


def test_if_no_host_can_be_used_the_error_says_why_of_each() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"^a is no read-write; b is no read-write$"):
        find("postgresql://a:1,b:1/none")
