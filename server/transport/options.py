"""C-core's channel arguments, the same for both transports, each with its reason."""

from collections.abc import Sequence
from typing import NamedTuple

Options = Sequence[tuple[str, int]]


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


def make_options(sizes: Sizes) -> Options:
    """Return the arguments for a server."""
    return (
        ("grpc.max_receive_message_length", sizes.max_request_bytes),
        ("grpc.max_send_message_length", sizes.max_response_bytes),
        # Up to the first they are accepted, over the second refused, and in between by chance.
        ("grpc.max_metadata_size", sizes.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", sizes.max_metadata_bytes),
        # That limit holds once the client has acknowledged it, so one that does not is disconnected.
        ("grpc.http2.settings_timeout", 2_000),
        # Each takes 20 KiB, and more in those two seconds.
        ("grpc.max_allowed_incoming_connections", 10_000),
        # A connection on which nothing comes is closed.
        ("grpc.server_handshake_timeout_ms", 5_000),
        # No compressed message is accepted: 48 KiB of gzip are 47 MiB, and are unpacked before any bound of ours is
        # looked at. A client that compresses is told UNIMPLEMENTED and what is accepted, as the specification has it.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # The window of a stream does not follow the bandwidth: of 100 streams that nobody read, 304 MiB were taken in,
        # and 2.6 MiB without this. Uploads are no slower.
        ("grpc.http2.bdp_probe", 0),
        # What a stream may send before its message is asked for: 1.6 MiB for the same 100.
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
