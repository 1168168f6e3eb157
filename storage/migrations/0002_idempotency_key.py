"""The idempotency key of an event, unique within its customer.

The column costs nothing to add. The index is built while writers wait: about a second for each million events.
"""


def up(migrator, db):
    db.execute_sql("ALTER TABLE analytics_event ADD COLUMN idempotency_key TEXT NOT NULL DEFAULT ''")
    db.execute_sql(
        "CREATE UNIQUE INDEX analytics_event_idempotency_key ON analytics_event (customer_id, idempotency_key)"
        " WHERE idempotency_key <> ''"
    )


def down(migrator, db):
    db.execute_sql("ALTER TABLE analytics_event DROP COLUMN idempotency_key")
