"""Compressed bodies: unpacked within a bound, whole, or refused."""

import contextlib
import gzip
import random
import zlib
from collections.abc import Callable

import pytest

from server.messages.json_codec.body import ENCODINGS, unpack, unpack_beginning
from server.messages.refusals import InvalidRequest, MessageTooLarge, UnsupportedEncoding
from tests.support.http import compress_raw

LIMIT = 1 << 20
BODY = b'{"customer_id":"c"}' * 50


Compress = Callable[[bytes], bytes]

COMPRESSED: dict[str, Compress] = {
    "gzip": lambda data: gzip.compress(data),
    "x-gzip": lambda data: gzip.compress(data),
    "deflate": lambda data: zlib.compress(data),
}
# By name and function: some clients send the contents of zlib's format alone as `deflate`.
WAYS: list[tuple[str, Compress]] = [*COMPRESSED.items(), ("deflate", compress_raw)]


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
@pytest.mark.parametrize("body", [b"", b"x", BODY, b"x" * LIMIT, random.Random(1).randbytes(100_000)], ids=len)
def test_a_compressed_body_is_unpacked(encoding: str, compress: Compress, body: bytes) -> None:
    for name in (encoding, encoding.upper(), f" {encoding} "):
        assert unpack(compress(body), name, LIMIT) == body


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
def test_the_beginning_of_a_body_is_known_before_the_rest(encoding: str, compress: Compress) -> None:
    data = compress(BODY + random.Random(1).randbytes(100_000))
    assert unpack_beginning(data[:10_000], encoding, 100) == BODY[:100]
    assert unpack_beginning(b"\xff" * 100, encoding, 100) == b""
    assert len(unpack_beginning(compress(b"x" * 50_000_000), encoding, 100)) == 100


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_a_body_that_is_not_compressed_stays_as_it_is(encoding: str) -> None:
    assert unpack(BODY, encoding, LIMIT) is BODY


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,", "*", "gzip;q=1", "deflate gzip"])
def test_another_encoding_is_not_supported(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding):
        unpack(gzip.compress(BODY), encoding, LIMIT)


def test_every_encoding_that_is_told_of_is_taken() -> None:
    assert [unpack(COMPRESSED[encoding](BODY), encoding, LIMIT) for encoding in ENCODINGS] == [BODY, BODY]


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
def test_a_body_over_the_limit_is_too_large_sent_or_unpacked(encoding: str, compress: Compress) -> None:
    assert len(unpack(compress(b"x" * 5_000), encoding, 5_000)) == 5_000
    for size in (5_001, 50_000_000):
        with pytest.raises(MessageTooLarge):
            unpack(compress(b"x" * size), encoding, 5_000)
    with pytest.raises(MessageTooLarge):
        unpack(b"x" * 5_001, "", 5_000)
    with pytest.raises(MessageTooLarge):
        unpack(compress(random.Random(1).randbytes(5_000)), encoding, 5_000)


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
def test_what_is_cut_off_or_followed_by_more_is_refused(encoding: str, compress: Compress) -> None:
    data = compress(BODY)
    cut = [data[:end] for end in range(len(data))]
    for wrong in (*cut, data + b"\0", data + b"x", data + data, b"x" + data, BODY, bytes(1_000)):
        with pytest.raises(InvalidRequest):
            unpack(wrong, encoding, LIMIT)


@pytest.mark.parametrize(("encoding", "compress"), list(COMPRESSED.items()))
def test_a_damaged_body_is_refused_by_its_checksum(encoding: str, compress: Compress) -> None:
    data = compress(BODY)
    for place in range(len(data) - 4, len(data)):
        with pytest.raises(InvalidRequest):
            unpack(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], encoding, LIMIT)


def test_random_bytes_are_refused_and_nothing_else() -> None:
    rng = random.Random(1)
    for _ in range(2_000):
        data = bytearray(gzip.compress(BODY))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for encoding in ENCODINGS:
            with contextlib.suppress(InvalidRequest, MessageTooLarge):
                # Some bytes of a header mean nothing.
                assert unpack(bytes(data), encoding, LIMIT) == BODY
