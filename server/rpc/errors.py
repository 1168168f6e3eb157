"""Exceptions to gRPC statuses: how a call that fails is ended, and what is logged about it."""

import logging
import random
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.rpc.code_pb2 import RESOURCE_EXHAUSTED
from google.rpc.status_pb2 import Status

from server.messages.refusals import forget_frames
from server.messages.statuses import find_retry_seconds, is_bug, make_headers, make_status
from server.request_ids import Metadata, find_request_ids

log = logging.getLogger(__name__)

# Read by gRPC's own retries, which know nothing of RetryInfo: after how long a client retries, or that it must not.
_PUSHBACK_METADATA = "grpc-retry-pushback-ms"
_NEVER = "-1"

CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: "grpc.aio.ServicerContext[bytes, bytes]", error: Exception, request: Descriptor) -> NoReturn:
    """End a call with the status that stands for `error`.

    Args:
        context: the context of the call.
        error: what its method raised.
        request: the type of its request.
    """
    log_bug(error, request, context.invocation_metadata() or ())
    status = make_status(error, request)
    await context.abort(CODES[status.code], status.message, make_trailers(error, status))
    raise AssertionError("abort() returned")


def make_trailers(error: Exception, status: Status) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of a call that ends with the status of `error`."""
    details = ("grpc-status-details-bin", status.SerializeToString())
    return (details, *make_headers(error, status), *_make_pushback(status))


def _make_pushback(status: Status) -> tuple[tuple[str, str], ...]:
    """Return what tells a client when to retry. It is up to a half later than in RetryInfo, lest all come at once."""
    if seconds := find_retry_seconds(status):
        return ((_PUSHBACK_METADATA, str(int(1_000 * seconds * random.uniform(1, 1.5)))),)  # noqa: S311 - no secret
    # A client cannot tell a request that is too large from a server that is overloaded, and would send it again.
    return ((_PUSHBACK_METADATA, _NEVER),) if status.code == RESOURCE_EXHAUSTED else ()


def log_bug(error: Exception, request: Descriptor, metadata: Metadata) -> None:
    """Log `error` with its traceback if callers are not meant to see it, and let go of the traceback.

    Args:
        error: what a method raised.
        request: the type of the request.
        metadata: the metadata of the call.
    """
    if is_bug(error):
        ids = find_request_ids(metadata)
        log.error("unexpected error", exc_info=error, extra={"request": request.full_name, **ids._asdict()})
    forget_frames(error)
