"""RFC 8259 and nothing else: well-known traps of parsers, and mutated bodies against the standard library."""

import json
import random
from typing import Any

import pytest

from server.messages.convert import ANALYTICS
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.fields import Read
from server.messages.json_codec.places import Place
from server.messages.json_codec.strict import Unreadable, decode
from server.messages.json_codec.walk import Budget
from server.messages.refusals import InvalidRequest
from tests.support import json_oracle

REQUIRED = b'"customer_id":"c","user_id":"u","recording_id":"r","event_type":"v","entity_type":"lead","entity_id":"e"'
READERS = {False: CreateReader(ANALYTICS), True: CreateReader(ANALYTICS, ignore_unknown=True)}

# Each is no JSON. They stand where a value belongs, some with more than a value.
NO_VALUES = (
    *(b"[1 true]", b"[a\xe5]", b'["": 1]', b'[""],', b"[,1]", b"[1,,2]", b'["x",,]', b'["x"]]', b'["",]', b'["x"'),
    *(b"[x", b"[3[4]]", b"[\xff]", b"[1:2]", b"[,]", b"[-]", b'[   , ""]', b'["a",\n4\n,1,', b"[1,]", b"[1,,]"),
    *(b'["\x0ba"\\f]', b"[*]", b'[""', b"[1,", b"[1,\n1\n,1", b"[{}", b"[fals]", b"[nul]", b"[tru]", b"[++1234]"),
    *(b"[+1]", b"[+Inf]", b"[-01]", b"[-1.0.]", b"[-2.]", b"[-NaN]", b"[.-1]", b"[.2e-3]", b"[0.1.2]", b"[0.3e+]"),
    *(b"[0.3e]", b"[0.e1]", b"[0E+]", b"[0E]", b"[0e+]", b"[0e]", b"[1.0e+]", b"[1.0e-]", b"[1.0e]", b"[1 000.0]"),
    *(b"[1eE2]", b"[2.e+3]", b"[2.e-3]", b"[2.e3]", b"[9.e+]", b"[Inf]", b"[NaN]", b"[\xef\xbc\x91]", b"[1+2]"),
    *(b"[0x1]", b"[0x42]", b"[Infinity]", b"[0e+-1]", b"[-123.123foo]", b"[123\xe5]", b"[1e1\xe5]", b"[0\xe5]"),
    *(b"[-Infinity]", b"[-foo]", b"[- 1]", b"[-012]", b"[-.123]", b"[-1x]", b"[1ea]", b"[1e\xe5]", b"[1.]", b"[.123]"),
    *(b"[1.2a-3]", b"[1.8011670033376514H-308]", b"[012]", b'["x", truth]', b'{[: "x"}', b'{"x", null}', b'{"x"::"b"}'),
    *(
        b"{\xf0\x9f\x87\xa8}",
        b'{"a":"a" 123}',
        b"{key: 'value'}",
        b'{"\xb9":"0",}',
        b'{"a" b}',
        b'{:"b"}',
        b'{"a" "b"}',
    ),
    *(
        b'{"a":',
        b'{"a"',
        b"{1:1}",
        b"{9999E9999:1}",
        b"{null:null,null:null}",
        b'{"id":0,,,,,}',
        b"{'a':0}",
        b'{"id":0,}',
    ),
    *(
        b'{"a":"b"}/**/',
        b'{"a":"b"}//',
        b'{"a":"b"}/',
        b'{"a":"b",,"c":"d"}',
        b'{a: "b"}',
        b'{"a":"a',
        b'{"f":"b","a"}',
    ),
    *(b'{"a":"b"}#', b" ", b'["\\uD800\\"]', b'["\\uD800\\u"]', b'["\\uD800\\u1"]', b'["\\uD800\\u1x"]', b"[\xc3\xa9]"),
    *(b'["\\\x00"]', b'["\\x00"]', b'["\\\\\\"]', b'["\\\t"]', b'["\\\xf0\x9f\x8c\x80"]', b'["\\"]', b'["\\u00A"]'),
    *(b'["\\uD834\\uDd"]', b'["\\uD800\\uD800\\x"]', b'["\\u\xe5"]', b'["\\a"]', b'["\\uqqqq"]', b'["\\\xe5"]'),
    *(
        b'[\\u0020"asd"]',
        b"[\\n]",
        b'"',
        b"['single quote']",
        b"abc",
        b'["\\',
        b'["a\x00a"]',
        b'["new\nline"]',
        b'["\t"]',
    ),
    *(b'"\\UA66D"', b'""x', b"<.>", b"[<null>]", b"[1]x", b"[1]]", b'["asd]', b"a\xc3\xa5", b"[True]", b"1]", b"[][]"),
    *(
        b"]",
        b"\xef\xbb{}",
        b"\xe5",
        b"[",
        b"[\x00]",
        b"2@",
        b"{}}",
        b'{"":',
        b'{"a":/*comment*/"b"}',
        b'{"a": true} "x"',
    ),
    *(b"['", b"[,", b"[{", b'["a', b'["a"', b"{", b"{]", b"{,", b"{[", b'{"a', b"{'a'", b'["\\{["\\{["\\{["\\{', b"*"),
    *(
        b'[\\u000A""]',
        b"[1",
        b"[ false, nul",
        b"[ true, fals",
        b"\xe2\x81\xa0",
        b"[\x0c]",
        b"\xef\xbb\xbf",
        b"",
        b"\x00",
    ),
    *(
        b"[\xc2\xa0]",
        b"[1]\x0b",
        b'["\x1f"]',
        b'["\xed\xa0\x80"]',
        b'["\xc0\xaf"]',
        b'["\xf4\xbf\xbf\xbf"]',
        b'["\xe0\xff"]',
    ),
    *(
        b'["\\ud800"]',
        b'["\\udc00\\ud800"]',
        b'["\\ud800a"]',
        b'["\\uD800\\n"]',
        b'["\\uDd1e\\uD834"]',
        b"[1_000]",
        b"[1L]",
    ),
    *(b"[" * 100_000, b'{"a":[' * 50_000, b"[1,2,3;4]", b'{"a":1;"b":2}', b"[1.e1]", b"[--1]", b"[0b1]", b"[1e1.5]"),
    *(
        b"undefined",
        b"[1,2,3]...",
        b"{}{}",
        b"// comment\n1",
        b"[0,#\n1]",
        b"`a`",
        b"[\xe2\x80\x9ca\xe2\x80\x9d]",
        b"NULL",
    ),
)

# Each is JSON.
VALUES = (
    *(b"[[]   ]", b'[""]', b"[]", b'["a"]', b"[false]", b'[null, 1, "1", {}]', b"[null]", b"[1\n]", b" [1]", b"[2] "),
    *(
        b"[1,null,null,null,2]",
        b"[123e65]",
        b"[0e+1]",
        b"[0e1]",
        b"[ 4]",
        b"[-0." + b"0" * 77 + b"1]",
        b"[20e1]",
        b"[-0]",
    ),
    *(
        b"[-123]",
        b"[1E22]",
        b"[1E-2]",
        b"[1E+2]",
        b"[123e45]",
        b"[123.456e78]",
        b"[1e-2]",
        b"[123.456789]",
        b"{}",
        b"{\t}",
    ),
    *(b'{"asd":"sdf", "dfg":"fgh"}', b'{"":0}', b'{ "min": -1.0e+28, "max": 1.0e+28 }', b'{"a":[]}', b'{\n"a": "b"\n}'),
    *(
        b'["\\u0060\\u012a\\u12AB"]',
        b'["\\uD801\\udc37"]',
        b'["\\ud83d\\ude39\\ud83d\\udc8d"]',
        b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]',
    ),
    *(b'["\\\\u0000"]', b'["\\""]', b'["a/*b*/c/*d//e"]', b'["\\\\a"]', b'["\\\\n"]', b'["\\u0012"]', b'["\\uFFFF"]'),
    *(
        b'[ "asd"]',
        b'["\\uDBFF\\uDFFF"]',
        b'["new\\u00A0line"]',
        b'["\xf4\x8f\xbf\xbf"]',
        b'["\xef\xbf\xbf"]',
        b'["\\u002c"]',
    ),
    *(b'["\xcf\x80"]', b'["asd "]', b'" "', b'["\\uD834\\uDd1e"]', b'["\\u0821"]', b'["\xe2\x80\xa8\xe2\x80\xa9"]'),
    *(
        b'["\\u0061\\u30af\\u30EA\\u30b9"]',
        b'["new\\u000Aline"]',
        b'["\x7f"]',
        b'["\\uA66D"]',
        b'["\\u005C"]',
        b'["\\u0022"]',
    ),
    *(
        b'["\xe2\x8d\x82\xe3\x88\xb4"]',
        b'["\\uDBFF\\uDFFE"]',
        b'["\\u200B"]',
        b'["\\uFDD0"]',
        b'["\\uFFFE"]',
        b'["\xef\xbb\xbf"]',
    ),
    *(
        b"true",
        b"false",
        b"0",
        b"-1",
        b"1.5e3",
        b'"\\u2028"',
        b'{"a":{"a":{"a":{}}}}',
        b"\r\n[\t1\r]\n",
        b'"\xf0\x9d\x84\x9e"',
    ),
)


def with_value(value: bytes) -> bytes:
    return b"{" + REQUIRED + b',"version_info":{"a":' + value + b"}}"


@pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: ascii(value[:30]))
def test_what_is_no_json_is_refused_by_every_reader(value: bytes) -> None:
    for body in (with_value(value), b"{" + REQUIRED + b',"unknown":' + value + b"}"):
        for reader in READERS.values():
            with pytest.raises(InvalidRequest):
                reader.read(body)
            with pytest.raises(InvalidRequest):
                reader.explain(body, Place(1, 1), Budget(40_000))
    with pytest.raises(Unreadable):
        decode(value, 10)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value[:30]))
def test_what_is_json_is_stored_as_the_same_value(value: bytes) -> None:
    body = with_value(value)
    for reader in READERS.values():
        stored = reader.read(body)[0].version_info
        assert stored is not None
        assert load(stored) == load(body)["version_info"]
        assert reader.explain(body, Place(1, 1), Budget(40_000)).version_info == stored
    assert load(json.dumps(decode(value, 10))) == load(value)


def load(text: str | bytes) -> Any:
    """The value of a text, its numbers as they are written."""
    return json.loads(text, parse_float=str, parse_int=str)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ignore_unknown", [False, True])
def test_mutated_bodies_are_read_as_the_standard_library_reads_them(seed: int, *, ignore_unknown: bool) -> None:
    rng = random.Random(seed)
    reader = READERS[ignore_unknown]
    accepted = refused = 0
    for _ in range(2_000):
        body = json_oracle.make_random_event(rng)
        if rng.random() < 0.95:
            body = json_oracle.mutate(rng, body)
        expected = json_oracle.read_strictly(body, reader.fields.names, ignore_unknown=ignore_unknown)
        if expected is None:
            refused += 1
        else:
            accepted += 1
        check(reader, body, expected)
    assert min(accepted, refused) > 100


def check(reader: CreateReader, body: bytes, expected: json_oracle.Content | None) -> None:
    """Checks both readers of a body: the fast one, and the one that explains."""
    try:
        fast = Read(*reader.fields.read(body))
    except Unreadable:
        fast = None
    explained: Read | None = None
    violations = []
    try:
        explained = reader.explain(body, Place(1, 1), Budget(40_000))
    except InvalidRequest as error:
        violations = error.violations
    if expected is None:
        assert (fast, explained) == (None, None), body
        assert violations, body
        return
    assert fast is not None, body
    texts = tuple(expected.texts.get(name, "") for name in reader.fields.names)
    assert fast[:2] == (texts, expected.version_info), body
    assert list(fast.ignored) == expected.ignored, body
    # What is JSON may still break the rules of its texts, of which the fast reader knows nothing.
    assert violations == ANALYTICS.find_violations(texts), body
    assert explained in (None, (texts, expected.version_info, expected.ignored)), body
