"""`python -m storage.erase`: erasing by command, receipts, and what follows the restore of a backup."""

import io
import json
from typing import Any

import psycopg2.extensions
import pytest

from storage import UserBlocked
from storage.erase import main
from tests.support.database import AVAILABILITY, as_server, execute, query, terminate_backends
from tests.support.until import until
from tests.support.writing import One, make_event, read_messages, run_with_commits

Capture = pytest.CaptureFixture[str]


def store(url: str, customer: str, *messages: str) -> None:
    """Store events of the user that `make_event` names."""

    async def write(commits: Any) -> None:
        for message in messages:
            await commits.write(One(make_event(customer, message)))

    run_with_commits(url, write)


def run(url: str, capsys: Capture, *arguments: str) -> list[dict[str, Any]]:
    """Return the receipts that a command prints."""
    assert main(arguments, {"OWNER_DATABASE_URL": url}) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("what", "erased"),
    [
        (["--all"], 2),
        (["--user", "user"], 2),
        (["--user", "other"], 0),
        (["--entity", "lead", "entity"], 2),
        (["--entity", "contact", "entity"], 0),
        (["--older-than-days", "1"], 0),
        (["--before", "2026-01-01"], 0),
        (["--older-than-days", "36500"], 0),
        (["--before", "1969-12-31"], 0),
        (["--before", "0001-01-01"], 0),
    ],
)
@pytest.mark.parametrize("as_owner", [True, False])
def test_events_are_erased_by_command(
    database_url: str, customer: str, capsys: Capture, what: list[str], erased: int, as_owner: bool
) -> None:
    store(database_url, customer, "a", "b")
    url = database_url if as_owner else as_server(database_url)
    (receipt,) = run(url, capsys, "events", "--customer", customer, *what, "--by", "ticket 1")
    assert (receipt["erased_count"], receipt["requested_by"]) == (erased, "ticket 1")
    assert receipt["finished_at"]
    assert len(read_messages(database_url, customer)) == 2 - erased
    assert run(url, capsys, "receipts", "--customer", customer) == [receipt]
    assert receipt in run(url, capsys, "receipts", "--since", receipt["finished_at"])
    assert run(url, capsys, "receipts", "--since", "9999-01-01") == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["events"],
        ["events", "--customer", "c"],
        ["events", "--customer", "", "--all"],
        ["events", "--customer", "c", "--all", "--user", "u"],
        ["events", "--customer", "c", "--user", ""],
        ["events", "--customer", "c", "--al"],
        ["events", "--customer", "c", "--all", "--block-later"],
        ["events", "--customer", "c", "--entity", "Lead", "e"],
        ["events", "--customer", "c", "--older-than-days", "0"],
        ["events", "--customer", "c", "--before", "tomorrow"],
    ],
)
def test_a_command_that_is_not_clear_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("environment", "status", "part"),
    [
        ({}, 2, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "nonsense:secret"}, 2, "DATABASE_URL is malformed"),
        ({"DATABASE_URL": "postgresql:///x?host=/nowhere"}, 1, "cannot be reached"),
    ],
)
def test_what_is_wrong_with_the_database_is_one_line(
    environment: dict[str, str], status: int, part: str, capsys: Capture
) -> None:
    assert main(["receipts"], environment) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line
    assert "secret" not in line


def test_erasures_are_applied_again_to_a_backup(
    own_database_url: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(own_database_url, "acme", "old")
    store(own_database_url, "globex", "stays")
    name = psycopg2.extensions.parse_dsn(own_database_url)["dbname"]
    administration = psycopg2.extensions.make_dsn(own_database_url, dbname="postgres")
    restored = psycopg2.extensions.make_dsn(own_database_url, dbname=f"{name}_restored")
    # No session may be open in a database that is copied. A store leaves that of its availability check.
    terminate_backends(own_database_url, AVAILABILITY)
    until(lambda: not query(administration, "SELECT FROM pg_stat_activity WHERE datname = %s", name))
    execute(administration, f"CREATE DATABASE {name}_restored TEMPLATE {name}")
    try:
        (receipt,) = run(own_database_url, capsys, "events", "--customer", "acme", "--user", "user", "--block-later")
        receipts = run(own_database_url, capsys, "receipts")
        assert receipts == [receipt]
        store(restored, "acme", "new")
        lines = "".join(json.dumps(each) + "\n" for each in receipts)
        for _ in range(2):
            monkeypatch.setattr("sys.stdin", io.StringIO(lines))
            (again,) = run(restored, capsys, "again")
            assert (again["id"], again["erased_count"]) == (receipt["id"], 1)
        assert read_messages(restored, "acme") == ["new"]
        assert read_messages(restored, "globex") == ["stays"]
        with pytest.raises(UserBlocked):
            store(restored, "acme", "no")
        run(restored, capsys, "unblock", "--customer", "acme", "--user", "user")
        store(restored, "acme", "yes")
        monkeypatch.setattr("sys.stdin", io.StringIO(lines + "{}\n"))
        assert main(["again"], {"DATABASE_URL": restored}) == 2
        assert "line 2" in capsys.readouterr().err
    finally:
        execute(administration, f"DROP DATABASE {name}_restored WITH (FORCE)")
