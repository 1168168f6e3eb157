"""An HTTP client for JSON that returns each answer unchanged."""

import http.client
import json
import ssl
import urllib.parse
import zlib
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; the content type must say so."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


class Http:
    """A client of one port that opens a new connection for each request."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls

    def __call__(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request. A `body` other than bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        if self._tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self._tls)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        """Send `body` to `path`."""
        return self("POST", path, body, headers)

    def search(self, path: str, **parameters: object) -> Answer:
        """Search at `path` with the parameters; a list is one repeated parameter."""
        return self("GET", f"{path}?{urllib.parse.urlencode(parameters, doseq=True)}")


def violations(answer: Answer, status: int = 422) -> dict[str, str]:
    """Return the fields that a refusal names, and why, after checking that it has the form of all refusals."""
    assert answer.status == status, answer
    refusal = answer.json
    assert set(refusal) == {"code", "message", "details"}
    assert refusal["code"] == 3
    assert refusal["message"]
    (details,) = refusal["details"]
    assert set(details) == {"@type", "fieldViolations"}
    assert details["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert all(set(violation) == {"field", "description"} for violation in details["fieldViolations"])
    return {violation["field"]: violation["description"] for violation in details["fieldViolations"]}


def compress_raw(data: bytes) -> bytes:
    """Return what zlib's format has inside, which some callers send as deflate."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()
