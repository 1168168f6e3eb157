"""Exceptions to gRPC statuses: how a call that fails is ended, and what is logged about it."""

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.rpc.status_pb2 import Status

from server.messages.refusals import forget_frames, is_bug, make_headers, make_status

log = logging.getLogger(__name__)

# Set by Envoy, which returns it to the caller and logs it.
_REQUEST_ID_METADATA = "x-request-id"

CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: "grpc.aio.ServicerContext[bytes, bytes]", error: Exception, request: Descriptor) -> NoReturn:
    """End a call with the status that stands for `error`.

    Args:
        context: the context of the call.
        error: what its method raised.
        request: the type of its request.
    """
    log_bug(error, request, dict(context.invocation_metadata() or ()))
    status = make_status(error, request)
    await context.abort(CODES[status.code], status.message, make_trailers(error, status))
    raise AssertionError("abort() returned")


def make_trailers(error: Exception, status: Status) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of a call that ends with the status of `error`."""
    return (("grpc-status-details-bin", status.SerializeToString()), *make_headers(error, status))


def log_bug(error: Exception, request: Descriptor, metadata: Mapping[str, Any]) -> None:
    """Log `error` with its traceback if callers are not meant to see it, and let go of the traceback.

    Args:
        error: what a method raised.
        request: the type of the request.
        metadata: the metadata of the call.
    """
    if is_bug(error):
        request_id = str(metadata.get(_REQUEST_ID_METADATA, ""))
        log.error("unexpected error", exc_info=error, extra={"request": request.full_name, "request_id": request_id})
    forget_frames(error)
