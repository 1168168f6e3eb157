"""The idempotency key of an event, unique within its customer.

The column costs nothing to add. The index is built while others write: about 2 s for each million events. It waits for
transactions that are older, such as a dump.
"""

# An index is built concurrently outside of a transaction. So this may have been interrupted, and begins again.
atomic = False


def up(migrator, db):
    db.execute_sql("ALTER TABLE analytics_event ADD COLUMN IF NOT EXISTS idempotency_key TEXT NOT NULL DEFAULT ''")
    db.execute_sql("SET lock_timeout = 0")  # Nobody waits behind what comes now.
    db.execute_sql("DROP INDEX CONCURRENTLY IF EXISTS analytics_event_idempotency_key")
    db.execute_sql(
        "CREATE UNIQUE INDEX CONCURRENTLY analytics_event_idempotency_key"
        " ON analytics_event (customer_id, idempotency_key) WHERE idempotency_key <> ''"
    )


def down(migrator, db):
    db.execute_sql("ALTER TABLE analytics_event DROP COLUMN idempotency_key")
