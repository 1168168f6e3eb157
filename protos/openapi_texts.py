"""What the OpenAPI document says about the API as a whole."""

from openapi_parts import Json

_DESCRIPTION = """\
A 201 means committed: the event is on disk.

**Access.** Send a key or a token as `Authorization: Bearer …`. A publishable key (`pk_…`) may store events of one
customer. A secret key (`sk_…`) or a token may do what its scopes allow: `events:write`, `events:read`, `events:erase`.
Until the operator has made a key, callers need none.

**Refusals.** The body of every error is a `Status`, whose details name each field at fault. A request that is refused
with a 4xx other than a 409 has changed nothing. After a 409, a 5xx, or no response, an event may be stored: retry with
the same `Idempotency-Key`, and it is stored once. Where there is a `Retry-After`, wait that many seconds.

**JSON.** Unknown fields and parameters are refused, and so is a name that is given twice. `null` is the same as absent.
A response has every field; what is absent is `""`.

**Limits.** A body may have up to 1 MiB, that of a batch 8 MiB, and that of an erasure 16 KiB. The URL and the headers
together may have up to 192 KiB. Limits of fields are in their schemas, in characters.

Every response has an `X-Request-Id`, which the logs of the service have too. The same calls can be made over gRPC,
on the same port.
"""

INFO: Json = {
    "title": "Data Analytics Service",
    "summary": "Stores what users do with recommendations and recordings, and finds it again.",
    "description": _DESCRIPTION,
    "version": "v1",
}
"""Of the document."""

SERVERS: list[Json] = [{"url": "/", "description": "The service that this document comes from."}]
"""Where the API is."""

_TAGS = {
    "Leads": "Events about leads: store one, and find those of a user on a lead.",
    "Contacts": "Events about contacts: store one, and find those of a user on a contact.",
    "Events": "Events about leads and contacts alike.",
    "Erasure": "Erases events for good, and keeps a receipt.",
}
TAGS: list[Json] = [{"name": name, "description": description} for name, description in _TAGS.items()]
"""What operations are grouped by, in this order."""

_TAGS_OF_SERVICES = {"LeadAnalyticsService": "Leads", "ContactAnalyticsService": "Contacts"}


def find_tag(service: str, method: str) -> int:
    """Return the place in TAGS of the tag of an RPC."""
    name = "Erasure" if "Eras" in method else _TAGS_OF_SERVICES.get(service, "Events")
    return list(_TAGS).index(name)
