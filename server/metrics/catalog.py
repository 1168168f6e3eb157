"""All metrics of a worker. docs/metrics.md has a line for each."""

from server.metrics.instruments import Counter, Histogram, Reading

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# OpenTelemetry's rpc.server.call.duration, and its attributes, as Prometheus spells them.
CALLS = Histogram(
    "rpc_server_call_duration_seconds",
    "How long calls took.",
    ("rpc_method", "rpc_response_status_code", "door"),
    _SECONDS,
)
CALLS_FAILED = Counter(
    "analytics_calls_failed_total", "Calls that failed, or were refused as a whole, and why.", ("door", "cause")
)
EVENTS_STORED = Counter("analytics_events_stored_total", "Events that were stored.", ("lane",))
EVENTS_REPLAYED = Counter(
    "analytics_events_replayed_total", "Events that had been stored before, under the same idempotency key.", ("lane",)
)
EVENTS_FAILED = Counter(
    "analytics_events_failed_total", "Events that a commit did not store, and why.", ("lane", "cause")
)
EVENTS_REFUSED = Counter(
    "analytics_events_refused_total", "Requests, and events of batches, that broke a rule.", ("door", "rule")
)
TRANSPORT_REFUSED = Counter(
    "analytics_transport_refused_total", "Calls that the transport refused or ended itself, and why.", ("cause",)
)
for _cause in (
    "too_many_calls",
    "slow_request",
    "late_request",
    "unread_response",
    "out_of_time",
    "no_such_method",
):
    TRANSPORT_REFUSED.begin(_cause)
LOG_DROPPED = Counter("analytics_log_lines_dropped_total", "Lines that nobody read, and that are missing in the log.")
LOG_DROPPED.begin()
SPANS_EXPORTED = Counter("analytics_spans_exported_total", "Spans that were exported.")
SPANS_EXPORTED.begin()
SPANS_DROPPED = Counter(
    "analytics_spans_dropped_total",
    "Spans that were not exported, and calls and commits that were not traced.",
    ("cause",),
)
for _cause in ("over_rate", "queue_full", "export_failed"):
    SPANS_DROPPED.begin(_cause)
COMMIT_SECONDS = Histogram(
    "analytics_commit_duration_seconds",
    "How long commits took, with waiting for another.",
    ("lane",),
    _SECONDS,
)
COMMIT_EVENTS = Histogram(
    "analytics_commit_events",
    "How many events a commit had.",
    ("lane",),
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 5_000),
)
COMMIT_BYTES = Histogram(
    "analytics_commit_bytes",
    "How many bytes the requests of a commit had.",
    ("lane",),
    tuple(1 << power for power in range(9, 25, 2)),
)
LOOP_LAG = Histogram(
    "analytics_event_loop_lag_seconds",
    "How much later than asked the event loop woke a task.",
    (),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

COUNTERS = (
    CALLS_FAILED,
    EVENTS_STORED,
    EVENTS_REPLAYED,
    EVENTS_FAILED,
    EVENTS_REFUSED,
    TRANSPORT_REFUSED,
    LOG_DROPPED,
    SPANS_EXPORTED,
    SPANS_DROPPED,
)
HISTOGRAMS = (CALLS, COMMIT_SECONDS, COMMIT_EVENTS, COMMIT_BYTES, LOOP_LAG)

WORKER_UP = Reading("analytics_worker_up", "Whether a worker answered this scrape. One that is dead is not listed.")
BUILD = Reading("analytics_build_info", "The versions of what runs. Always 1.", ("version", "python"))
READY = Reading("analytics_ready", "Whether a worker can commit: as /readyz says.")
DATABASE_UP = Reading("analytics_database_up", "Whether the database can be reached and takes events.")
COMMITS_WAIT = Reading(
    "analytics_commits_wait_for_standby", "Whether events are refused as commits wait for a synchronous standby."
)
REPLICA_LEFT_OUT = Reading(
    "analytics_read_replica_left_out", "Whether READ_DATABASE_URL is set, and reads go to the primary all the same."
)
REPLICA_SECONDS = Reading(
    "analytics_read_replica_age_seconds", "How old what the read replica has is at most, or 0 if there is none."
)
QUEUE_EVENTS = Reading("analytics_write_queue_events", "Events that wait for a commit to begin.", ("lane",))
QUEUE_BYTES = Reading("analytics_write_queue_bytes", "The bytes of their requests.", ("lane",))
QUEUE_SECONDS = Reading("analytics_write_queue_oldest_seconds", "How long the oldest of them has waited.", ("lane",))
COMMIT_AGE = Reading("analytics_commit_in_flight_seconds", "How long the oldest commit has been in flight.", ("lane",))
READS = Reading("analytics_reads_in_flight", "Searches, lists and other reads that use the database.", ("kind",))
READS_WAITING = Reading("analytics_reads_waiting", "Those that wait for their turn.", ("kind",))
STREAMS = Reading("analytics_streams_open", "Streams that are open.", ("kind",))

# With the names that Prometheus's own libraries give them.
CPU = Reading("process_cpu_seconds_total", "The processor time that a worker has taken.", grows=True)
MEMORY = Reading("process_resident_memory_bytes", "The memory that a worker takes.")
FILES = Reading("process_open_fds", "The files and connections that a worker has open.")
MAX_FILES = Reading("process_max_fds", "How many it may have open.")
STARTED = Reading("process_start_time_seconds", "When a worker started, in seconds since 1970.")

# The same from whichever worker, so that they have no label `worker`.
SAMPLED = Reading("analytics_postgres_sampled", "Whether PostgreSQL told what follows.")
TABLE_BYTES = Reading("analytics_postgres_table_bytes", "The size of a table without its indexes.", ("table",))
INDEX_BYTES = Reading("analytics_postgres_index_bytes", "The size of a table's indexes.", ("table",))
DEAD_ROWS = Reading("analytics_postgres_dead_rows", "Rows that autovacuum has not taken away yet.", ("table",))
VACUUM_ROWS = Reading(
    "analytics_postgres_rows_since_vacuum", "Rows that were added or have died since the last vacuum.", ("table",)
)
CONNECTIONS = Reading("analytics_postgres_connections", "Connections of all programs to this PostgreSQL.")
MAX_CONNECTIONS = Reading("analytics_postgres_max_connections", "How many it accepts.")
SEES_ALL = Reading(
    "analytics_postgres_sees_all_sessions", "Whether the role sees transactions of others, and standbys."
)
OLDEST_TRANSACTION = Reading(
    "analytics_postgres_oldest_transaction_seconds", "How long the oldest transaction has lasted that the role sees."
)
OLDEST_PREPARED = Reading(
    "analytics_postgres_oldest_prepared_transaction_seconds", "How long the oldest prepared transaction has waited."
)
STANDBYS = Reading("analytics_postgres_standbys", "The standbys that are connected.")
REPLICATION_SECONDS = Reading("analytics_postgres_replication_lag_seconds", "How far the last standby is behind.")
REPLICATION_BYTES = Reading("analytics_postgres_replication_lag_bytes", "The same, in bytes of the write-ahead log.")
