"""The metrics of one worker: what is counted anyway, and what is read from its parts when somebody asks."""

import os
import platform
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from server.envoy_socket import private_socket
from server.ingest.group_commit import GroupCommit
from server.memory import read_resident_bytes
from server.metrics import catalog
from server.metrics.endpoint import Endpoint, name_socket, name_worker
from server.metrics.exposition import Exposition
from server.rpc.call_meter import begin_counts
from server.sharing.open_streams import OpenStreams
from server.sharing.places import Places
from server.sharing.turns import Turns
from server.variables import ConfigurationError
from server.version import find_version
from storage.replica import Replica

_STARTED_AT = time.time()


def bind_endpoint(
    envoy_socket: Path, metrics: Exposition, find_fault: Callable[[], str], more: Callable[[], Awaitable[str]]
) -> Endpoint:
    """Return the endpoint of a worker, bound beside its socket for Envoy.

    Args:
        envoy_socket: that one.
        metrics: those of the worker.
        find_fault: returns why it cannot commit, or "".
        more: returns, as text, the metrics that are the same from whichever worker.

    Raises:
        ConfigurationError: it cannot be bound.
    """
    path = name_socket(envoy_socket)
    with private_socket(path):
        try:
            return Endpoint(path, metrics.render, find_fault, more)
        except OSError as error:
            raise ConfigurationError(
                f"ENVOY_SOCKET={envoy_socket}: {path.name} cannot be listened on beside it: {error.strerror}"
            ) from None


class WorkerMetrics(Exposition):
    """What a worker shows of itself."""

    def __init__(self, envoy_socket: Path) -> None:
        """Create it with what needs no database.

        Args:
            envoy_socket: the worker's socket for Envoy, by whose name the metrics call it.
        """
        super().__init__(name_worker(name_socket(envoy_socket)), (*catalog.COUNTERS, *catalog.HISTOGRAMS))
        begin_counts()
        self.add(catalog.WORKER_UP, lambda: 1)
        self.add(catalog.BUILD, lambda: 1, find_version(), platform.python_version())
        self.add(catalog.CPU, lambda: sum(os.times()[:2]))
        self.add(catalog.MEMORY, read_resident_bytes)
        self.add(catalog.FILES, lambda: len(list(Path("/proc/self/fd").iterdir())))
        self.add(catalog.MAX_FILES, lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.add(catalog.STARTED, lambda: _STARTED_AT)

    def add_state(
        self, is_ready: Callable[[], bool], is_up: Callable[[], bool], is_waiting: Callable[[], bool]
    ) -> None:
        """Add whether it can commit, whether the database is up, and whether its commits wait for a standby."""
        self.add(catalog.COMMITS_WAIT, is_waiting)
        self.add(catalog.READY, is_ready)
        self.add(catalog.DATABASE_UP, is_up)

    def add_replica(self, replica: Replica | None) -> None:
        """Add whether the read replica is used, and how old what it has is."""
        self.add(catalog.REPLICA_LEFT_OUT, lambda: replica is not None and not replica.is_used)
        self.add(catalog.REPLICA_SECONDS, lambda: replica.age if replica is not None else 0)

    def add_commits(self, lane: str, commits: GroupCommit) -> None:
        """Add a write queue and its commits."""
        self.add(catalog.QUEUE_EVENTS, lambda: commits.queue.event_count, lane)
        self.add(catalog.QUEUE_BYTES, lambda: commits.queue.byte_size, lane)
        self.add(catalog.QUEUE_SECONDS, lambda: commits.queue.oldest_seconds, lane)
        self.add(catalog.COMMIT_AGE, lambda: commits.in_flight_seconds, lane)

    def add_reads(self, turns: Mapping[str, Turns]) -> None:
        """Add what customers take turns at, by the kind of it."""
        for kind, each in turns.items():
            self.add(catalog.READS, lambda each=each: each.held, kind)  # type: ignore[misc]  # mypy infers no lambda's default
            self.add(catalog.READS_WAITING, lambda each=each: each.waiting, kind)  # type: ignore[misc]  # mypy infers no lambda's default

    def add_streams(self, writes: Places, others: Mapping[str, OpenStreams]) -> None:
        """Add the streams that are open: write streams, and responses that are streams, by their kind."""
        self.add(catalog.STREAMS, lambda: writes.taken, "write")
        for kind, streams in others.items():
            self.add(catalog.STREAMS, lambda streams=streams: streams.count, kind)  # type: ignore[misc]  # mypy infers no lambda's default
