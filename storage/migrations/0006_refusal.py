"""What was refused, for a while: see `storage.refusal`. Nothing is locked that a server uses."""

from peewee import CompositeKey, Field, IntegerField, Model, TextField, UUIDField


class JsonbField(Field):
    field_type = "JSONB"


def up(migrator, db):
    class Refusal(Model):
        customer_id = TextField()
        id = UUIDField()
        rpc = TextField()
        door = TextField()
        code = TextField()
        tool_signature = TextField()
        violations = JsonbField()
        request_id = TextField()
        replayed_event_id = UUIDField(null=True)
        omitted = IntegerField()

        class Meta:
            database = db
            table_name = "refusal"
            primary_key = CompositeKey("customer_id", "id")

    db.create_tables([Refusal])


def down(migrator, db):
    db.execute_sql("DROP TABLE refusal")
