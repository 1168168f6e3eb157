"""What carries RPCs to the handlers: gRPC's C-core, read by the event loop itself, or the stock `grpc.aio` server."""

CORE = "core"
"""The transport of this package."""
AIO = "aio"
"""The stock one."""
TRANSPORTS = (CORE, AIO)
