"""Who may make which call: decided by the metadata alone, before anything of the request is received.

What an admitted caller may do with which customer's events is decided once the request is read.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextvars import ContextVar
from typing import NamedTuple

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.empty_pb2 import Empty

from server.access.caller import (
    ANYONE,
    ERASE,
    READ,
    WRITE,
    Admitted,
    Caller,
    OriginNotAllowed,
    ScopeMissing,
    Unauthenticated,
    get_caller,
    set_admitted,
    set_caller,
)
from server.access.verifier import Verifier
from server.ingest.notes import GRPC, JSON
from server.messages.json_codec.query import find_keys
from server.messages.json_codec.status import format_status
from server.messages.statuses import get_http_status, make_headers, make_status
from server.metrics.catalog import CALLS_FAILED
from server.rpc.call_log import CallLog
from server.rpc.call_meter import name_cause, name_rpc
from server.rpc.errors import CODES, log_bug, make_trailers
from server.rpc.http_handlers import STATUS_METADATA, pack
from server.rpc.http_services import URL_METADATA
from server.transport import health
from server.transport.interface import Metadata, Refusal, Verdict
from storage import DatabaseUnavailable

_CREDENTIALS = "authorization"
_ORIGIN = "origin"
_PUBLISHABLE = "pk_"
_OPEN = f"/{health.SERVICE_NAME}/"
_REFLECTION = "/grpc.reflection."

_SCOPES = {
    **dict.fromkeys(("Create", "Batch", "Write"), WRITE),
    **dict.fromkeys(("Search", "List", "GetAnalyticsEvent", "Export", "Summarize", "Watch"), READ),
    **dict.fromkeys(("Erase", "GetErasure"), ERASE),
}
"""What a call needs, by how the name of the RPC begins."""

# How long a call waits until it is known whose it is. The database and the identity provider have less.
_SECONDS = 8.0

_credentials: ContextVar[str] = ContextVar("credentials", default="")


class _Rule(NamedTuple):
    """What admits a call of one method."""

    scope: str = ""
    """What the caller needs. Empty if any caller may make it."""
    rpc: str = ""
    """What the log calls it."""
    is_json: bool = False
    """Whether its response is one for callers of JSON."""
    takes_parameter: bool = False
    """Whether a publishable key may be in the URL."""
    is_lasting: bool = False
    """Whether its response is a stream, which may go on for long."""


_ANY = _Rule()


class Admission:
    """Admits the calls of one server, or refuses them."""

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        verifier: Verifier,
        call_log: CallLog,
        *,
        is_on: bool,
        serves_reflection: bool,
    ) -> None:
        """Create it.

        Args:
            services: the services whose calls need credentials.
            verifier: verifies these.
            call_log: what logs the calls that are not admitted.
            is_on: whether credentials are required. See `is_on`.
            serves_reflection: whether reflection, if the server has it, is open to anyone although they are.
        """
        self.is_on = is_on
        """Whether credentials are required. May be set at any time."""
        self._verifier = verifier
        self._call_log = call_log
        self._serves_reflection = serves_reflection
        self._rules = {path: rule for service in services for path, rule in _list_rules(service)}
        self._lasting = {path for path, rule in self._rules.items() if rule.is_lasting}
        self._refused = {
            (error, is_json): _make_refusal(error(), is_json=is_json)
            for error in (Unauthenticated, ScopeMissing, OriginNotAllowed)
            for is_json in (False, True)
        }

    def __call__(self, method: str, metadata: Metadata) -> Verdict | Coroutine[None, None, Verdict]:
        """Decide about a call, as `server.transport.interface.Admit` has it, and set its caller."""
        if not self.is_on:
            set_caller(ANYONE)
            if method in self._lasting:
                set_admitted(Admitted(time.monotonic(), self.renew))  # They may be required before it ends.
            return None
        rule = self._rules.get(method)
        if rule is None:
            if method.startswith(_OPEN):
                return None
            if method.startswith(_REFLECTION):
                return None if self._serves_reflection else _NO_REFLECTION
            rule = _ANY
        credentials = _find_credentials(metadata, rule)
        if credentials is None:
            return self._refuse(Unauthenticated("there is no credential, or more than one"), rule, metadata)
        caller = self._verifier.find(credentials)
        if caller is None:
            return self._verify(credentials, rule, metadata)
        return self._decide(caller, credentials, rule, metadata)

    async def renew(self) -> Caller:
        """Return the caller of the current call, if its credentials are still valid.

        Raises:
            Unauthenticated: they are not.
            DatabaseUnavailable, TooManyLookups: nobody can tell.
        """
        credentials = _credentials.get()
        if not credentials:  # The call began while none were required.
            if self.is_on:
                raise Unauthenticated("the call began while none were required")
            return get_caller()
        return self._verifier.find(credentials) or await self._verifier.verify(credentials)

    async def _verify(self, credentials: str, rule: _Rule, metadata: Metadata) -> Verdict:
        try:
            async with asyncio.timeout(_SECONDS):
                caller = await self._verifier.verify(credentials)
        except Unauthenticated as error:
            return self._refuse(error, rule, metadata)
        except TimeoutError:
            return self._fail(DatabaseUnavailable(), rule, metadata)
        except Exception as error:  # noqa: BLE001 - whoever cannot be verified is refused
            log_bug(error, Empty.DESCRIPTOR, metadata)
            return self._fail(error, rule, metadata)
        return self._decide(caller, credentials, rule, metadata)

    def _decide(self, caller: Caller, credentials: str, rule: _Rule, metadata: Metadata) -> Verdict:
        if rule.scope and rule.scope not in caller.scopes:
            return self._refuse(ScopeMissing(f"{caller.name} lacks {rule.scope}"), rule, metadata)
        if caller.origins is not None:
            origins = [value for name, value in metadata if name == _ORIGIN]
            if len(origins) != 1 or origins[0] not in caller.origins:
                return self._refuse(OriginNotAllowed(f"{caller.name} is not for {origins!r:.200}"), rule, metadata)
        set_caller(caller)
        _credentials.set(credentials)
        set_admitted(Admitted(time.monotonic(), self.renew))
        return None

    def _refuse(
        self, error: Unauthenticated | ScopeMissing | OriginNotAllowed, rule: _Rule, metadata: Metadata
    ) -> Refusal:
        # The caller is not told why: that would help whoever guesses.
        self._tell(error, rule, metadata, str(error))
        return self._refused[type(error), rule.is_json]

    def _fail(self, error: Exception, rule: _Rule, metadata: Metadata) -> Refusal:
        self._tell(error, rule, metadata)
        return _make_refusal(error, is_json=rule.is_json)

    def _tell(self, error: Exception, rule: _Rule, metadata: Metadata, reason: str = "") -> None:
        door, cause = JSON if rule.is_json else GRPC, name_cause(error)
        CALLS_FAILED.add(door, cause)
        self._call_log.tell_not_admitted(rule.rpc, door, metadata, cause, reason)


_NO_REFLECTION = Refusal(grpc.StatusCode.UNIMPLEMENTED, "no such method")


def _list_rules(service: ServiceDescriptor) -> Iterable[tuple[str, _Rule]]:
    """Yield the paths of the methods of a service, and of its methods for JSON, with what admits their calls."""
    package, name = service.file.package, service.name
    for method in service.methods:
        scope = next(scope for word, scope in _SCOPES.items() if method.name.startswith(word))
        takes_parameter = "Create" in method.name
        is_lasting = method.server_streaming
        rpc = name_rpc(method)
        yield f"/{package}.{name}/{method.name}", _Rule(scope, rpc, is_lasting=is_lasting)
        for_json = _Rule(scope, rpc, is_json=True, takes_parameter=takes_parameter, is_lasting=is_lasting)
        yield f"/{package}.http.{name}/{method.name}", for_json
        yield f"/{package}.http.upload.{name}/{method.name}", for_json


def _find_credentials(metadata: Metadata, rule: _Rule) -> str | None:
    """Return the credentials of a call as the header has them, or None if there are none, or two."""
    found = [value for name, value in metadata if name == _CREDENTIALS]
    if rule.takes_parameter:
        url = next((str(value) for name, value in metadata if name == URL_METADATA), "")
        if "?" in url:
            for key in find_keys(url):
                if not key.startswith(_PUBLISHABLE):
                    return None
                found.append(f"Bearer {key}")
    return str(found[0]) if len(found) == 1 else None


def _make_refusal(error: Exception, *, is_json: bool) -> Refusal:
    status = make_status(error, Empty.DESCRIPTOR)
    if not is_json:
        return Refusal(CODES[status.code], status.message, make_trailers(error, status))
    headers = ((STATUS_METADATA, str(get_http_status(error))), *make_headers(error, status))
    return Refusal(grpc.StatusCode.OK, "", initial_metadata=headers, message=pack(format_status(status)))
