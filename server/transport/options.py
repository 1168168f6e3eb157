"""C-core's channel arguments, the same for both transports, each with its reason."""

from collections.abc import Sequence
from typing import NamedTuple

Options = Sequence[tuple[str, int]]

MAX_CONNECTIONS = 10_000
"""The most connections that a server accepts."""


class Sizes(NamedTuple):
    """The limits that depend on what is served."""

    max_request_bytes: int
    """The largest message that is received."""
    max_response_bytes: int
    """The largest message that is sent."""
    max_metadata_bytes: int
    """The metadata of a request: its names and values, and 32 bytes for each pair."""
    max_calls: int
    """The calls that handlers take at once: of one connection, and as many again may wait to be accepted."""
    max_connections: int = MAX_CONNECTIONS
    """Fewer where the system allows fewer open files."""


def make_options(sizes: Sizes) -> Options:
    """Return the arguments for a server."""
    return (
        ("grpc.max_receive_message_length", sizes.max_request_bytes),
        ("grpc.max_send_message_length", sizes.max_response_bytes),
        # Both alike: up to the first, calls are accepted; over the second, refused; in between, refused at random.
        ("grpc.max_metadata_size", sizes.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", sizes.max_metadata_bytes),
        # Those limits hold once the client has acknowledged them. A client that does not is disconnected.
        ("grpc.http2.settings_timeout", 2_000),
        # A connection takes 20 KiB, and more before it has acknowledged the limits.
        ("grpc.max_allowed_incoming_connections", sizes.max_connections),
        # A new connection that sends nothing is closed.
        ("grpc.server_handshake_timeout_ms", 5_000),
        # Compressed messages are refused as UNIMPLEMENTED. gRPC unpacks them before it looks at a limit, and 48 KiB of
        # gzip can be 47 MiB.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # Do not let a stream's window grow with the bandwidth. Of 100 streams that the server did not read, it buffered
        # 304 MiB with this on and 2.6 MiB with it off. Uploads are no slower.
        ("grpc.http2.bdp_probe", 0),
        # How much a stream may send before the server asks for a message. It leaves 1.6 MiB for the same 100 streams.
        ("grpc.http2.lookahead_bytes", 16 << 10),
        # Per connection. A client with more calls holds the others back itself.
        ("grpc.max_concurrent_streams", sizes.max_calls),
        # How many calls, over all connections, may wait for the event loop to accept them: about one second's worth. In
        # a flood gRPC ends the others cheaply, and always as CANCELLED. Behind Envoy they are 429.
        ("grpc.server.max_pending_requests", 2 * sizes.max_calls),
        ("grpc.server.max_pending_requests_hard_limit", 4 * sizes.max_calls),
        # A peer that vanished is noticed within about 40 s, and its calls are ended.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A client may ping every 10 s, with or without a call. One that pings more often is disconnected.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        # An idle connection is closed. The client opens another when it needs one.
        ("grpc.max_connection_idle_ms", 30 * 60_000),
        # Otherwise a second server could bind the same port and silently take half of the calls.
        ("grpc.so_reuseport", 0),
    )
