"""A TCP proxy in front of PostgreSQL that can lose the answer to a statement that has been executed."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg2.extensions

_CHUNK = 1 << 16
_LONGEST_MARKER = 64
_POLL_SECONDS = 0.2


class _Address(NamedTuple):
    """Where PostgreSQL listens: on a Unix socket if `host` is a directory."""

    host: str
    port: int

    def connect(self) -> socket.socket:
        """Open a connection to it."""
        if not self.host.startswith("/"):
            return socket.create_connection((self.host, self.port))
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(Path(self.host) / f".s.PGSQL.{self.port}"))
        except OSError:
            connection.close()
            raise
        return connection


class Proxy:
    """A proxy that relays every byte until it is asked to cut a connection."""

    def __init__(self, url: str, listener: socket.socket, address: _Address) -> None:
        self.url = url
        """The database's URL through the proxy."""
        self.cuts = 0
        """How many replies were lost so far."""
        self._address = address
        self._listener = listener
        self._lock = threading.Lock()
        self._marker = b""
        self._relays: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="proxy")
        self._acceptor.start()

    def cut_reply_to(self, marker: bytes) -> None:
        """Lose the next reply of PostgreSQL's that holds `marker`, once, and close the connection it was for.

        PostgreSQL names a statement as completed only after its commit: `INSERT 0 1` or `COPY 3`, each with a zero
        byte behind it. A client whose reply with that marker is lost cannot know that its rows are stored.
        """
        assert 0 < len(marker) <= _LONGEST_MARKER
        with self._lock:
            self._marker = marker

    def close(self) -> None:
        """Close all connections and wait for the threads to end."""
        self._stopping.set()
        self._acceptor.join()
        for relay in self._relays:
            relay.join()

    def _accept(self) -> None:
        self._listener.settimeout(_POLL_SECONDS)
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                relay = threading.Thread(target=self._relay, args=(client,), name="proxy relay")
                self._relays.append(relay)
                relay.start()

    def _relay(self, client: socket.socket) -> None:
        # A side that closes or resets its connection ends the relay, as PostgreSQL's absence does.
        with client, contextlib.suppress(OSError), self._address.connect() as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            seen = b""  # The end of what the server sent before, where a marker may begin.
            with selectors.DefaultSelector() as ready:
                ready.register(client, selectors.EVENT_READ)
                ready.register(server, selectors.EVENT_READ)
                while not self._stopping.is_set():
                    for key, _ in ready.select(_POLL_SECONDS):
                        if key.fileobj is client:
                            source, target = client, server
                        else:
                            source, target = server, client
                        data = source.recv(_CHUNK)
                        if not data:
                            return
                        if source is server:
                            if self._is_to_be_cut(seen, data):
                                return
                            seen = (seen + data)[-_LONGEST_MARKER:]
                        target.sendall(data)

    def _is_to_be_cut(self, seen: bytes, data: bytes) -> bool:
        with self._lock:
            # Of what was relayed before, only so much that a marker must end in `data`.
            earlier = seen[max(0, len(seen) - len(self._marker) + 1) :]
            if not self._marker or self._marker not in earlier + data:
                return False
            self._marker = b""
            self.cuts += 1
            return True


@contextlib.contextmanager
def proxied(database_url: str) -> Iterator[Proxy]:
    """Run a proxy in front of the database until the block ends."""
    parts = psycopg2.extensions.parse_dsn(database_url)
    address = _Address(parts["host"], int(parts.get("port", 5432)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"
        proxy = Proxy(url, listener, address)
        try:
            yield proxy
        finally:
            proxy.close()
