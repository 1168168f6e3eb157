"""Everything private of grpcio that this package uses, by name, and the version that it was tested with.

gRPC promises nothing about these names, so `server.transport.make` imports this module only if the installed version is
the tested one. A test lists them.
"""

from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # in native code, and untyped

CompletionQueue: Any = cygrpc.CompletionQueue
Server: Any = cygrpc.Server

QUEUE_TIMEOUT: int = cygrpc.CompletionType.queue_timeout
QUEUE_SHUTDOWN: int = cygrpc.CompletionType.queue_shutdown
ACCEPTED: int = cygrpc.CallError.ok

ReceiveClose: Any = cygrpc.ReceiveCloseOnServerOperation
ReceiveMessage: Any = cygrpc.ReceiveMessageOperation
SendInitialMetadata: Any = cygrpc.SendInitialMetadataOperation
SendMessage: Any = cygrpc.SendMessageOperation
SendStatus: Any = cygrpc.SendStatusFromServerOperation

NO_FLAGS = 0


def unwrap(credentials: grpc.ServerCredentials) -> Any:
    """Return C-core's credentials in those of gRPC's public functions."""
    return credentials._credentials  # type: ignore[attr-defined]  # there is no other way
