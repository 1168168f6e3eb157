"""The contents of a refused gRPC call."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status


class Refusal:
    """A refused call. `refused` sets its error when the `with` block ends."""

    error: grpc.RpcError

    @property
    def status(self) -> Status:
        """The whole status, from the trailers."""
        return Status.FromString(self.trailers["grpc-status-details-bin"])

    @property
    def trailers(self) -> dict[str, Any]:
        """The trailing metadata of the call."""
        return {item.key: item.value for item in self.error.trailing_metadata() or ()}

    @property
    def violations(self) -> dict[str, str]:
        """The fields at fault, and what is wrong with each."""
        details = BadRequest()
        (detail,) = self.status.details
        assert detail.Unpack(details)
        return {violation.field: violation.description for violation in details.field_violations}

    @property
    def retry_seconds(self) -> int:
        """After how many seconds the caller may retry."""
        details = RetryInfo()
        (detail,) = self.status.details
        assert detail.Unpack(details)
        return int(details.retry_delay.seconds)


@contextlib.contextmanager
def refused(code: grpc.StatusCode) -> Iterator[Refusal]:
    """Check that the block's call is refused with `code`."""
    refusal = Refusal()
    with pytest.raises(grpc.RpcError) as caught:
        yield refusal
    refusal.error = caught.value
    assert refusal.error.code() == code, refusal.error
