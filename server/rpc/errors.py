"""Exceptions to gRPC statuses: how a call that fails is ended, and what is logged about it."""

import logging
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.rpc.error_details_pb2 import RetryInfo

from server.messages.refusals import RETRY_AFTER_SECONDS, is_bug, make_status

log = logging.getLogger(__name__)

FROM_JSON_METADATA = "x-from-json"
"""Set by `envoy.yaml` on calls that it makes of JSON: their callers know the JSON names of the fields."""

# Set by Envoy, which returns it to the caller and logs it.
_REQUEST_ID_METADATA = "x-request-id"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: "grpc.aio.ServicerContext[bytes, bytes]", error: Exception, request: Descriptor) -> NoReturn:
    """End a call with the status that stands for `error`. Log a bug with its traceback.

    Args:
        context: the context of the call.
        error: what its method raised.
        request: the type of its request.
    """
    metadata = dict(context.invocation_metadata() or ())
    if is_bug(error):
        request_id = str(metadata.get(_REQUEST_ID_METADATA, ""))
        log.error("unexpected error", exc_info=error, extra={"request": request.full_name, "request_id": request_id})
    status = make_status(error, request, use_json_names=FROM_JSON_METADATA in metadata)
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details):
        trailers.append(("retry-after", str(RETRY_AFTER_SECONDS)))
    await context.abort(_CODES[status.code], status.message, tuple(trailers))
    raise AssertionError("abort() returned")


def is_from_json(context: "grpc.aio.ServicerContext[bytes, bytes]") -> bool:
    """Return whether Envoy made the call of JSON."""
    return any(key == FROM_JSON_METADATA for key, _ in context.invocation_metadata() or ())
