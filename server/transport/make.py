"""Makes the server on the transport that is asked for."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from server.transport import AIO, CORE
from server.transport.calls import Bounds
from server.transport.interface import FAILED, Admit, Metadata, Refusal, Server
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
    admit: Admit | None = None,
) -> Server:
    """Return a server for the running event loop that is bound to nothing yet.

    Args:
        transport: `CORE`, or `AIO` for the stock server, which is taken for another version of grpcio too.
        sizes: the limits that depend on what is served.
        bounds: what callers may hold. The stock server has no such bounds.
        unbounded_services: see `server.transport.server.CoreServer`. The stock server refuses no call by itself.
        refusal_metadata: likewise.
        admit: decides whether a call for which there is a handler is admitted. If None, all are.
    """
    options = make_options(sizes)
    if transport == CORE and grpc.__version__ != TESTED_VERSION:
        log.warning(
            "the installed grpcio is not the tested one: its stock transport is used",
            extra={"installed": grpc.__version__, "tested": TESTED_VERSION},
        )
        transport = AIO
    if transport == AIO:
        return grpc.aio.server(options=options, interceptors=[] if admit is None else [_Admission(admit)])
    # Here, because in another version the names that it imports may be missing.
    from server.transport.server import CoreServer

    return CoreServer(
        options, bounds, unbounded_services=unbounded_services, refusal_metadata=refusal_metadata, admit=admit
    )


class _Admission(grpc.aio.ServerInterceptor):
    """Admits the calls of the stock server, or refuses them."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        try:
            verdict = self._admit(handler_call_details.method, handler_call_details.invocation_metadata)
            if verdict is not None and not isinstance(verdict, Refusal):
                verdict = await verdict
        except Exception:  # Its text is not for the caller.
            log.exception("unexpected error", extra={"method": handler_call_details.method})
            verdict = FAILED
        return handler if verdict is None else _make_refuser(verdict)


def _make_refuser(refusal: Refusal) -> Any:
    """Return a handler that refuses a call. It is one of streams, because those receive nothing by themselves."""

    async def refuse(_: Any, context: Any) -> None:
        if refusal.initial_metadata:
            await context.send_initial_metadata(refusal.initial_metadata)
        if refusal.message is not None:
            await context.write(refusal.message)
        if refusal.code is not grpc.StatusCode.OK:
            await context.abort(refusal.code, refusal.details, tuple(refusal.trailing_metadata))

    behaviour: Any = refuse
    return grpc.stream_stream_rpc_method_handler(behaviour)
