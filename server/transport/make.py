"""Makes the server on the transport that is asked for."""

import logging
from collections.abc import Sequence

import grpc
import grpc.aio

from server.transport import AIO, CORE
from server.transport.calls import Bounds
from server.transport.interface import Metadata, Server
from server.transport.options import Sizes, make_options

DEFAULT_BOUNDS = Bounds()

log = logging.getLogger(__name__)

TESTED_VERSION = "1.85.1"
"""The version of grpcio with whose private parts the transport `core` was tested."""


def make_server(
    transport: str,
    sizes: Sizes,
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    unbounded_services: Sequence[str] = (),
    refusal_metadata: Metadata = (),
) -> Server:
    """Return a server for the running event loop that is bound to nothing yet.

    Args:
        transport: `CORE`, or `AIO` for the stock server, which is taken for another version of grpcio too.
        sizes: the limits that depend on what is served.
        bounds: what callers may hold. The stock server has no such bounds.
        unbounded_services: see `server.transport.server.CoreServer`. The stock server refuses no call by itself.
        refusal_metadata: likewise.
    """
    options = make_options(sizes)
    if transport == CORE and grpc.__version__ != TESTED_VERSION:
        log.warning(
            "the installed grpcio is not the tested one: its stock transport is used",
            extra={"installed": grpc.__version__, "tested": TESTED_VERSION},
        )
        transport = AIO
    if transport == AIO:
        return grpc.aio.server(options=options)
    # Here, because in another version the names that it imports may be missing.
    from server.transport.server import CoreServer

    return CoreServer(options, bounds, unbounded_services=unbounded_services, refusal_metadata=refusal_metadata)
