"""What the handlers may ask of either transport, and what the application may ask of its server."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import grpc

Metadata = Sequence[tuple[str, str | bytes]]
"""Pairs of a key, in lower case, and its value: bytes if the key ends in -bin."""


class Refusal(NamedTuple):
    """How a call is ended that is not admitted. None of its messages is received."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Metadata = ()
    initial_metadata: Metadata = ()
    message: bytes | None = None
    """A response, if the caller expects its refusals in one."""


FAILED = Refusal(grpc.StatusCode.UNKNOWN, "unexpected error")
"""Of a call about which the decision has failed."""

Verdict = Refusal | None
"""Whether a call is refused."""

Admit = Callable[[str, Metadata], Verdict | Coroutine[Any, Any, Verdict]]
"""Decides, given the path and the metadata of a call, whether it is admitted.

It does so at once or, where that takes longer, in a coroutine, which ends within seconds. Either runs in the context of
the call, and may set variables for its handler.
"""


class Context(Protocol):
    """One call, as its handler sees it: the part of `grpc.aio.ServicerContext` that handlers use here.

    What it raises are the exceptions of `grpc.aio`, on either transport.
    """

    def invocation_metadata(self) -> Metadata | None:
        """Return the metadata that the caller sent."""

    def peer(self) -> str:
        """Return where the caller is: it begins with `unix:` only if the call came on a Unix socket."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline, at least 0, or None if the caller has set none."""

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Send metadata ahead of the response.

        Raises:
            grpc.aio.InternalError: the caller has gone.
            grpc.aio.UsageError: they are sent already.
        """

    async def write(self, message: Any) -> None:
        """Send one response of a stream, and wait until flow control has let it pass.

        Raises:
            grpc.aio.InternalError: the caller has gone.
        """

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with a status.

        Raises:
            grpc.aio.AbortError: always. The handler lets it pass.
        """

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the code with which the call ends when its handler returns or raises."""

    def set_details(self, details: str) -> None:
        """Set the message with which the call ends when its handler returns or raises."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback` called with this context once the call has ended and its response takes no memory."""


class Server(Protocol):
    """The part of `grpc.aio.Server` that the application uses. Belongs to one event loop."""

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers, which are asked in this order for each call. Their methods must be async."""

    def add_insecure_port(self, address: str) -> int:
        """Bind an address of the form host:port or unix:path, and return the port, or 1 for a path.

        Raises:
            RuntimeError: it cannot be bound.
        """

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Bind an address of the form host:port on which TLS is used, and return the port.

        Raises:
            RuntimeError: it cannot be bound.
        """

    async def start(self) -> None:
        """Begin to accept calls."""

    async def stop(self, grace: float | None) -> None:
        """Accept no new calls, let those in flight finish for `grace` seconds, and cut off the rest."""
