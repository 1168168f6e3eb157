"""The RPCs that erase events and show receipts, typed and for JSON."""

import asyncio
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest, GetErasureRequest
from server.access.caller import NotPermitted, get_caller
from server.messages.erasure import to_erasure, to_message, to_receipt_id
from server.messages.json_codec.erasure import read_erasure, read_receipt_id
from server.messages.json_codec.format import format_receipt
from server.messages.json_codec.query import refuse_parameters
from server.messages.parse import parse
from server.messages.refusals import ErasureNotFound, InvalidRequest
from server.messages.wording import ERASURE_NOT_JSON
from server.rpc.http_services import URL_METADATA, HttpCall, HttpRead, HttpWrite
from storage import Erasure, Erasures, Receipt

# How long a caller waits for the end of an erasure. Small ones are done in a few milliseconds.
_WAIT_SECONDS = 2.0


def authorize(customer_id: str) -> str:
    """Return the name of the caller.

    Raises:
        NotPermitted: it may not erase events of the customer, nor see what was erased.
    """
    caller = get_caller()
    if not caller.may_erase(customer_id):
        raise NotPermitted
    return caller.name


class Eraser:
    """The erasures of one server, as callers see them."""

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures

    async def erase(self, erasure: Erasure) -> Receipt:
        """Erase events. Return the receipt once that is done, or after 2 s."""
        receipt = await self._erasures.begin(erasure, authorize(erasure.customer_id))
        loop = asyncio.get_running_loop()
        end = loop.time() + _WAIT_SECONDS
        pause = 0.01
        while not receipt.finished_at and loop.time() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)
            receipt = await self._find(erasure.customer_id, receipt.id)
        return receipt

    async def find(self, customer_id: str, receipt_id: str) -> Receipt:
        """Return a receipt. Raise ErasureNotFound if there is none."""
        authorize(customer_id)
        return await self._find(customer_id, receipt_id)

    async def EraseAnalyticsEvents(self, data: bytes, _context: Any, _: str) -> bytes:
        """Erase events, as a typed RPC, from bytes to bytes."""
        erasure = to_erasure(parse(EraseAnalyticsEventsRequest, data))
        return to_message(await self.erase(erasure)).SerializeToString()

    async def GetErasure(self, data: bytes, _context: Any, _: str) -> bytes:
        """Return a receipt, as a typed RPC, from bytes to bytes."""
        ids = to_receipt_id(parse(GetErasureRequest, data))
        return to_message(await self.find(*ids)).SerializeToString()

    async def _find(self, customer_id: str, receipt_id: str) -> Receipt:
        receipt = await self._erasures.find(customer_id, receipt_id)
        if receipt is None:
            raise ErasureNotFound
        return receipt


class HttpErase(HttpWrite):
    """An erasure that is asked for as JSON."""

    max_body_bytes = 1 << 20

    def __init__(self, eraser: Eraser) -> None:
        self._eraser = eraser

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Erase the events that the body names, and return the receipt."""
        refuse_parameters(call.metadata.get(URL_METADATA, ""))
        # A browser sends other content types for any page, without asking whether the page may.
        if call.content_type.partition(";")[0].strip().lower() != "application/json":
            raise InvalidRequest([ERASURE_NOT_JSON])
        erasure = read_erasure(call.unpack_body(self.max_body_bytes))
        return format_receipt(await self._eraser.erase(erasure))


class HttpGetErasure(HttpRead):
    """A receipt that is asked for by its URL."""

    def __init__(self, eraser: Eraser) -> None:
        self._eraser = eraser

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return the receipt."""
        ids = read_receipt_id(self.get_url(call))
        return format_receipt(await self._eraser.find(*ids))
