"""No writer stores an event within a savepoint, which a watch could not tell from what is committed."""

import contextlib

import psycopg2
import psycopg2.errors
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from tests.support.database import blocked_backends, count_events, execute
from tests.support.in_process import running_server
from tests.support.requests import analytics_event
from tests.support.until import until

# A row has the number of the savepoint that it was stored in, if there is one.
_CHECK = """
CREATE FUNCTION refuse_savepoints() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT xmin <> pg_current_xact_id()::xid FROM analytics_event WHERE customer_id = NEW.customer_id AND id = NEW.id)
  THEN
    RAISE EXCEPTION 'stored within a savepoint' USING ERRCODE = 'triggered_action_exception';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER refuse_savepoints AFTER INSERT ON analytics_event FOR EACH ROW EXECUTE FUNCTION refuse_savepoints();
"""
_COPY_OF_ONE = """
CREATE TEMPORARY TABLE copy AS SELECT * FROM analytics_event LIMIT 1;
UPDATE copy SET id = gen_random_uuid(), idempotency_key = '';
"""


def test_no_event_is_stored_within_a_savepoint(own_database_url: str, customer: str) -> None:
    url = own_database_url
    execute(url, _CHECK)
    batch = BatchCreateAnalyticsEventsRequest(events=[analytics_event(customer, user_id=str(n)) for n in range(5)])
    with running_server(url) as server:
        events = server.client.events
        events.CreateAnalyticsEvent(analytics_event(customer), timeout=5)
        events.CreateAnalyticsEvent(analytics_event(customer, idempotency_key="key"), timeout=5)
        assert events.BatchCreateAnalyticsEvents(batch, timeout=5).stored_count == 5
        (written,) = events.WriteAnalyticsEvents(iter([WriteAnalyticsEventsRequest(events=batch.events)]), timeout=5)
        assert written.committed.stored_count == 5
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            # Another writer has the key, and gives it up. Meanwhile the create is tried again.
            cursor.execute(_COPY_OF_ONE)
            cursor.execute("UPDATE copy SET idempotency_key = 'taken'")
            cursor.execute("INSERT INTO analytics_event SELECT * FROM copy")
            waiting = events.CreateAnalyticsEvent.future(analytics_event(customer, idempotency_key="taken"), timeout=10)
            until(lambda: blocked_backends(url))
            connection.rollback()
            waiting.result()
            assert count_events(url, customer) == 13
            cursor.execute(_COPY_OF_ONE)
            cursor.execute("SAVEPOINT one")
            with pytest.raises(psycopg2.errors.TriggeredActionException):
                cursor.execute("INSERT INTO analytics_event SELECT * FROM copy")
