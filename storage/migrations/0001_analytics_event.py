"""The events table and its one search index."""

from peewee import CompositeKey, DateTimeField, Field, Model, TextField, UUIDField


class TimestampField(DateTimeField):
    field_type = "TIMESTAMPTZ"


class JsonbField(Field):
    field_type = "JSONB"


def up(migrator, db):
    class AnalyticsEvent(Model):
        customer_id = TextField()
        id = UUIDField()
        created_at = TimestampField()
        updated_at = TimestampField()
        entity_type = TextField()
        entity_id = TextField()
        user_id = TextField()
        recording_id = TextField()
        event_type = TextField()
        tool_signature = TextField()
        event_id = TextField()
        message = TextField()
        javascript_local_time = TextField()
        apex_local_time = TextField()
        event_environment_path = TextField()
        name_parser_event_id = TextField()
        recommendation_model_event_id = TextField()
        version_info = JsonbField(null=True)
        search_key = UUIDField()

        class Meta:
            database = db
            table_name = "analytics_event"
            primary_key = CompositeKey("customer_id", "id")

    event = AnalyticsEvent
    event.add_index(
        event.index(
            event.customer_id,
            event.search_key,
            event.created_at.desc(),
            event.id.desc(),
            name="analytics_event_search",
        )
    )
    db.create_tables([event])


def down(migrator, db):
    db.execute_sql("DROP TABLE analytics_event")
