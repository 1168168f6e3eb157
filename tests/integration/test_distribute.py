"""`python -m storage.distribute` where there is no cluster, and the list of the tables that it goes by."""

import pytest

from storage.distribute import main
from storage.tables import TABLES
from tests.support.database import query


def test_a_database_without_citus_is_refused_in_one_line(
    own_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], {"OWNER_DATABASE_URL": own_database_url}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("OWNER_DATABASE_URL: the database cannot be distributed: ")
    assert "Citus" in line


def test_a_database_that_lacks_migrations_is_refused(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {"DATABASE_URL": database_url.replace("/analytics?", "/postgres?")}) == 2
    assert "the schema lacks 0001_analytics_event" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "status", "text"),
    [
        ("", 2, "DATABASE_URL is not set"),
        ("nonsense", 2, "DATABASE_URL is malformed"),
        ("postgresql://nobody@127.0.0.1:1/none", 1, "the database cannot be reached"),
    ],
)
def test_a_url_that_names_no_database_is_reported(
    url: str, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], {"DATABASE_URL": url}) == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("shards", ["0", "-1", "1001", "many", ""])
def test_a_number_of_shards_that_cannot_be_is_refused(shards: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([f"--shards={shards}"], {"DATABASE_URL": "postgresql://"})


def test_it_is_said_of_each_table_where_its_rows_are(own_database_url: str) -> None:
    rows = query(own_database_url, "SELECT relname FROM pg_stat_user_tables ORDER BY relname")
    assert tuple(name for (name,) in rows) == TABLES
