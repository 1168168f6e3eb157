"""A base backup and the write-ahead log since then: the database as it was before an accident."""

import json
from pathlib import Path

import pytest

from storage import erase
from tests.support.database import count_events, query
from tests.support.in_process import running_server
from tests.support.requests import lead_event
from tests.support.standby import Node, make_own
from tests.support.until import until

SWITCH = "SELECT pg_walfile_name(pg_switch_wal())"
ARCHIVED = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"


def test_the_database_is_restored_as_it_was_before_an_erasure(
    database_url: str, customer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "archive"
    make_own(archive)
    node, restored = Node(tmp_path / "nodes", "node"), Node(tmp_path / "nodes", "restored")
    node.copy(database_url)
    command = f"test ! -f {archive}/%f && cp %p {archive}/%f.new && mv {archive}/%f.new {archive}/%f"
    node.start(archive_mode="on", archive_command=command)
    try:
        with running_server(node.url) as server:

            def store(whose: str, count: int) -> None:
                for _ in range(count):
                    server.client.leads.CreateLeadAnalyticsEvent(lead_event(whose), timeout=10)

            store(customer, 3)
            restored.copy(node.url)
            store(customer, 4)
            assert erase.main(["events", "--customer", customer, "--all"], {"DATABASE_URL": node.url}) == 0
            store(f"{customer} later", 5)
        receipt = json.loads(capsys.readouterr().out)
        assert receipt["erased_count"] == 7
        ((segment,),) = query(node.url, SWITCH)
        until(lambda: query(node.url, ARCHIVED, segment) == [(True,)])
        (restored.data / "recovery.signal").touch()
        restored.start(
            restore_command=f"cp {archive}/%f %p",
            recovery_target_time=receipt["created_at"].replace("Z", "+00"),
            recovery_target_inclusive="off",
            recovery_target_action="promote",
        )
        until(lambda: query(restored.url, "SELECT pg_is_in_recovery()") == [(False,)])
        counts = [[count_events(url, f"{customer}{end}") for end in ("", " later")] for url in (node.url, restored.url)]
        assert counts == [[0, 5], [7, 0]]
    finally:
        restored.kill()
        node.kill()
