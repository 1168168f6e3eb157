"""The keys and signers of callers, and what is left of their rates. Nothing is locked that a server uses."""

from peewee import SQL, BlobField, DateTimeField, DoubleField, Field, IntegerField, Model, TextField


class TimestampField(DateTimeField):
    field_type = "TIMESTAMPTZ"


class TextsField(Field):
    field_type = "TEXT[]"


def up(migrator, db):
    class AccessKey(Model):
        id = TextField(primary_key=True)
        kind = TextField()
        customer_id = TextField()
        secret_hash = BlobField(null=True)
        public_key = TextField(null=True)
        algorithm = TextField(null=True)
        scopes = TextsField()
        origins = TextsField(null=True)
        users = TextsField(null=True)
        events_per_second = IntegerField(null=True)
        bytes_per_second = IntegerField(null=True)
        note = TextField(constraints=[SQL("DEFAULT ''")])
        created_at = TimestampField()
        expires_at = TimestampField(null=True)
        revoked_at = TimestampField(null=True)
        last_used_at = TimestampField(null=True)

        class Meta:
            database = db
            table_name = "access_key"

    class AccessRate(Model):
        key_id = TextField(primary_key=True)
        events = DoubleField()
        bytes = DoubleField()
        updated_at = TimestampField()

        class Meta:
            database = db
            table_name = "access_rate"

    db.create_tables([AccessKey, AccessRate])


def down(migrator, db):
    db.execute_sql("DROP TABLE access_key, access_rate")
