"""Compressed bodies and compressed answers, through the real Envoy."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from tests.support.http import Http, violations
from tests.support.json_faults import list_faults, list_outcomes

LEAD = "/api/v1/lead_analytics"
BATCH = "/api/v1/analytics_events:batch"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
BODY = json.dumps(GOOD).encode()
NOT_COMPRESSED = "is not one whole stream of the content-encoding that its header names"
Compress = Callable[[bytes], bytes]


# Some callers send as deflate what zlib's format has inside.
ENCODINGS = [
    *(("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress)),
    *(("deflate", lambda data: zlib.compress(data)[2:-4]), ("identity", bytes), ("", bytes)),
]


@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS)
def test_a_compressed_body_is_read_as_the_same_uncompressed(
    http: Http, customer: str, encoding: str, compress: Compress
) -> None:
    headers = {"content-encoding": encoding}
    event = {**GOOD, "customer_id": customer, "message": "m" * 10_000}
    stored = http.post(LEAD, compress(json.dumps(event).encode()), headers)
    assert (stored.status, stored.json["message"]) == (201, event["message"])
    assert violations(http.post(LEAD, compress(b'{"user_id":5}'), headers))["user_id"] == "must be a string"
    batch = json.dumps({"events": [{**GOOD, "entity_type": "lead", "entity_id": "l"}]}).encode()
    assert list_outcomes(http.post(BATCH, compress(batch), headers)) == [
        [("lead_id", "is not a known field")],
    ]


@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS[:5])
@pytest.mark.parametrize(("path", "limit", "status"), [(LEAD, 1 << 20, 201), (BATCH, 8 << 20, 422)])
def test_the_limit_is_on_the_uncompressed_body(
    http: Http, encoding: str, compress: Compress, path: str, limit: int, status: int
) -> None:
    headers = {"content-encoding": encoding}
    assert http.post(path, compress(BODY.rjust(limit)), headers).status == status
    for size in (limit + 1, 3 * limit):
        too_large = http.post(path, compress(BODY.rjust(size)), headers)
        assert (too_large.status, too_large.json["code"], too_large.json["details"]) == (413, 8, [])


GZIPPED, ZIPPED = gzip.compress(BODY, mtime=0), zlib.compress(BODY)
DAMAGED = [
    *(("gzip", b""), ("gzip", BODY), ("gzip", ZIPPED), ("gzip", GZIPPED[:-1]), ("gzip", GZIPPED[:-8] + b"\0" * 8)),
    *(("gzip", GZIPPED + b"x"), ("gzip", GZIPPED * 2), ("gzip", GZIPPED[:20]), ("gzip", b"\x1f\x8b")),
    *(("deflate", b""), ("deflate", BODY), ("deflate", GZIPPED), ("deflate", ZIPPED[:-1]), ("deflate", ZIPPED + b"x")),
]


@pytest.mark.parametrize(("encoding", "body"), DAMAGED)
def test_a_damaged_stream_is_refused_whole(http: Http, encoding: str, body: bytes) -> None:
    for path in (LEAD, BATCH):
        assert list_faults(http.post(path, body, {"content-encoding": encoding})) == [("", NOT_COMPRESSED)]


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,identity", "gzip;q=1", "*", "utf-8"]
)
@pytest.mark.parametrize("path", [LEAD, "/api/v1/contact_analytics", "/api/v1/analytics_events", BATCH])
def test_another_encoding_is_415_and_told_which_are_supported(http: Http, path: str, encoding: str) -> None:
    answer = http.post(path, BODY, {"content-encoding": encoding})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert answer.json == {
        "code": 3,
        "message": "this content-encoding is not supported: use gzip or deflate",
        "details": [],
    }


def test_a_large_answer_is_compressed_for_those_who_accept_it(http: Http, customer: str) -> None:
    large = {**GOOD, "customer_id": customer, "message": "m" * 2_000}
    plain = http.post(LEAD, large, {"idempotency-key": "k"})
    zipped = http.post(LEAD, large, {"idempotency-key": "k", "accept-encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert (zipped.status, zipped.headers["content-encoding"]) == (201, "gzip")
    assert gzip.decompress(zipped.body) == plain.body
    asked = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r"}
    path = SEARCH + "?" + "&".join(f"{name}={value.replace(' ', '+')}" for name, value in asked.items())
    found = http("GET", path, headers={"accept-encoding": "gzip"})
    assert gzip.decompress(found.body) == http("GET", path).body
    for headers in ({"accept-encoding": "br"}, {"accept-encoding": "gzip;q=0"}, {"accept-encoding": "identity"}):
        assert "content-encoding" not in http.post(LEAD, large, headers).headers
    assert "content-encoding" not in http.post(LEAD, GOOD, {"accept-encoding": "gzip"}).headers


def test_a_large_refusal_is_compressed_with_its_own_status(http: Http) -> None:
    faults = {f"unknown{number}": 1 for number in range(30)}
    plain, zipped = (http.post(LEAD, faults, {"accept-encoding": accepted}) for accepted in ("identity", "gzip"))
    assert (plain.status, zipped.status) == (422, 422)
    assert gzip.decompress(zipped.body) == plain.body
