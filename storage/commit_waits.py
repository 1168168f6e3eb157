"""Whether commits wait for a synchronous standby that does not answer, which PostgreSQL tells nobody by itself."""

FIND_OLDEST_WAIT = """
CASE WHEN current_setting('synchronous_standby_names') <> '' THEN (
  SELECT extract(epoch FROM min(query_start))::float8 FROM pg_stat_activity
  WHERE wait_event = 'SyncRep' AND usename = current_user AND application_name LIKE 'analytics%'
) END
"""
"""An expression: when the statement began whose commit has waited longest, of all workers, or NULL."""

PATIENCE_SECONDS = 3.0
"""How long a commit may wait: as long as a database may be silent. With a standby that is well, it is milliseconds."""


class CommitWaits:
    """What was seen of commits that wait, at one look after another."""

    def __init__(self) -> None:
        self._oldest: float | None = None

    def are_long(self, oldest: float | None, now: float) -> bool:
        """Return whether commits wait for too long.

        Args:
            oldest: what FIND_OLDEST_WAIT is.
            now: the time, by the database's clock.
        """
        # A statement that took long itself may be in its wait at one look, but not at two.
        is_same, self._oldest = oldest is not None and oldest == self._oldest, oldest
        return is_same and oldest is not None and now - oldest > PATIENCE_SECONDS
