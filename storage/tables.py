"""The tables of the schema, and where their rows are if the database is a cluster: see `storage.distribution`."""

DISTRIBUTED = ("analytics_event", "erased_key", "erasure", "list_segment", "refusal", "summary_day")
"""By customer: what one customer has is on one node."""

REFERENCE = ("access_key", "blocked_user", "schema_migration")
"""On every node, because all customers need it, or every server. To change it takes all nodes."""

LOCAL = ("access_rate",)
"""On the coordinator alone, which then is the only node that a change takes."""

TABLES = tuple(sorted((*DISTRIBUTED, *REFERENCE, *LOCAL)))
