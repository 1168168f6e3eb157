"""What a strict reader must make of the JSON of a create, by the standard library alone: slow, and plainly right."""

import json
import random
from typing import Any, NamedTuple, NoReturn

from tests.support import contract


class Content(NamedTuple):
    """What an accepted text holds."""

    texts: dict[str, str]
    version_info: str | None
    """Compact, its numbers as they were sent."""
    ignored: list[str]


class _Number(str):
    """A number as it was sent."""


def read_strictly(body: bytes, texts: tuple[str, ...], *, ignore_unknown: bool = False) -> Content | None:
    """What `body` holds, or None if it is to be refused. The rules of the texts are not looked at.

    Args:
        body: the text.
        texts: the names of the fields that are strings.
        ignore_unknown: whether other names are ignored.
    """
    try:
        tree = json.loads(
            body.decode(),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse,
            parse_float=_Number,
            parse_int=_Number,
        )
        _print(tree).encode()  # Half a surrogate pair cannot be encoded.
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, dict) or _depth(tree) > contract.MAX_DEPTH + 1:
        return None
    ignored = [name for name in tree if name not in (*texts, "version_info")]
    known = {name: tree[name] for name in texts if tree.get(name) is not None}
    if (ignored and not ignore_unknown) or not all(type(text) is str for text in known.values()):
        return None
    version_info = tree.get("version_info")
    if version_info is None:
        return Content(known, None, ignored)
    printed = _print(version_info)
    if (
        not isinstance(version_info, dict)
        or len(printed.encode()) > contract.MAX_JSON
        or not _can_be_stored(version_info)
    ):
        return None
    return Content(known, printed, ignored)


def _refuse(_: object) -> NoReturn:
    raise ValueError


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(_depth, items), default=0)


def _can_be_stored(value: Any) -> bool:
    if isinstance(value, dict):
        return all("\0" not in name and _can_be_stored(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(_can_be_stored, value))
    if isinstance(value, _Number):
        return _digits(value) <= contract.MAX_DIGITS
    return not isinstance(value, str) or "\0" not in value


def _digits(number: str) -> int:
    exponent = number.lower().partition("e")[2].lstrip("+-").lstrip("0")
    return contract.MAX_DIGITS + 1 if len(exponent) > 6 else contract.count_digits(number)


def _print(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_print(name)}:{_print(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_print, value))}]"
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


_PIECES = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\t", b"\r", b"0", b"-", b".", b"e", b"1e99"),
    *(b"1e100", b"0.1", b"-0", b"01", b"1E+2", b"1e-98", b"9" * 100, b"1e", b"+1", b"NaN", b"-Infinity", b"Infinity"),
    *(b"null", b"true", b"false", b"nul", b"True", b"{}", b"[]", b'""', b'{"a":', b'"a":', b'"a":1', b'"a":1,"a":1'),
    *(b'"message":', b'"message":""', b'"message":null', b'"message":"x"', b'"user_id":null,', b'"user_id":"",'),
    *(b'"version_info":', b'"version_info":{}', b'"version_info":null', b'"\\u0061":1', b'"mess\\u0061ge":"y"'),
    *(b"\\u003a", b"\\u003A", b"\\u0000", b"\\\\u0000", b"\\\\", b'\\"', b"\\/", b"\\n", b"\\j", b"\\u12", b"\\x41"),
    *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\uD83D\\uDE00", b"\\ud83d\\u0041", b"\\ud83d\\\\ude00"),
    *(b"\x00", b"\x01", b"\x1f", b"\x7f", b"\xc2\x80", b"\xe2\x80\xa8", b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"\xff"),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xef\xbb\xbf", b"\xef\xbf\xbf", b"\xc2\xa0"),
    *(b"/**/", b"//\n", b"#", b"'", b"'a'", b"\x0b", b"\x0c", b",,", b"}}", b"]]", b'":', b'" :', b"::", b";"),
)

_FIELDS = (
    *(b'"customer_id":"c"', b'"user_id":"u:1"', b'"recording_id": "r"', b'"event_type" : "view"', b'"entity_id":"e"'),
    *(
        b'"message":"a \\"b\\" \\\\ \\u00e9 \xc3\xa9"',
        b'"tool_signature":""',
        b'"event_id":null',
        b'"apex_local_time":"::"',
    ),
    *(b'"idempotency_key":"k"', b'"version_info":{}', b'"version_info":{"a":[1,{"b":null}],"c:d":"e:f"}'),
    *(b'"version_info": {"n": [1.50, -0, 1e99, 123456789012345678901234567890]}', b'"version_info":null'),
    *(b'"version_info":{"\\u0061":"\\u003a","b":{"a":"\\ud83d\\ude00"}}', b'"javascript_local_time":"\\u003A"'),
    b'"version_info":' + b'{"a":' * 30 + b"1" + b"}" * 30,
)


def make_random_event(rng: random.Random) -> bytes:
    """The text of an event, good but for the rules of its texts."""
    fields = {field.partition(b":")[0]: field for field in rng.sample(_FIELDS, rng.randint(0, 8))}
    if rng.random() < 0.5:
        fields[b"entity"] = b'"entity_type":"lead"'
    return b"{" + rng.choice((b",", b" , ", b",\n ")).join(fields.values()) + b"}"


def mutate(rng: random.Random, text: bytes) -> bytes:
    """The text with one to four small changes, of the kinds that people, programs and attackers make."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice((0, 0, 1, 1, 2, 5)))
        match rng.randrange(6):
            case 0 | 1 | 2:
                text = text[:start] + rng.choice(_PIECES) + text[end:]
            case 3:
                text = text[:start] + text[end:]
            case 4:
                text = text[:start] + bytes([rng.randrange(256)]) + text[min(start + 1, len(text)) :]
            case 5:
                source = rng.randint(0, len(text))
                text = text[:start] + text[source : source + rng.randint(1, 30)] + text[end:]
    return text
