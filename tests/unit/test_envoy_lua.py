"""envoy.lua alone, in the LuaJIT that Envoy is built with. tests/e2e/ runs the same file in Envoy."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest
from lupa.luajit21 import LuaRuntime

from tests.support.processes import ROOT

SEARCH = "/api/v1/lead_analytics/search"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

# Loads envoy.lua, and returns the globals that it defines and a function that runs one of them as Envoy does. From then
# on a misspelled or an accidental global is an error.
FAKE_ENVOY = """
local path = ...
local plain_pairs = pairs

-- Envoy's LuaJIT is built with the __pairs of Lua 5.2.
function pairs(object)
  local meta = getmetatable(object)
  if meta and meta.__pairs then return meta.__pairs(object) end
  return plain_pairs(object)
end

local defined = {}
local globals = {
  __index = function(_, name) error("undefined global " .. name, 2) end,
  __newindex = function(_, name, value) defined[#defined + 1] = name; rawset(_G, name, value) end,
}
setmetatable(_G, globals)
dofile(path)
globals.__newindex = function(_, name) error("accidental global " .. name, 2) end

local function open_headers(values)
  local valid, iterating = true, false
  local function check(changes)
    if not valid then error("object used outside of proper scope", 3) end
    if changes and iterating then error("header map cannot be modified while iterating", 3) end
  end
  local headers = {}
  function headers:get(name) check(false); return values[name] end
  function headers:remove(name) check(true); values[name] = nil end
  function headers:replace(name, value) check(true); values[name] = tostring(value) end
  local function iterate()
    check(false)
    iterating = true
    local name
    return function()
      name = next(values, name)
      iterating = name ~= nil
      return name, values[name]
    end
  end
  return setmetatable(headers, { __pairs = iterate }), function() valid = false end
end

local function run(callback, route, values, bytes)
  local headers, invalidate = open_headers(values)
  local handle = {}
  function handle:headers() return headers end
  function handle:streamInfo() return { routeName = function() return route end } end
  function handle:respond(reply, text) coroutine.yield(reply[":status"], text) end -- never resumed
  function handle:body(even_if_empty)
    invalidate()
    headers, invalidate = open_headers(values)
    if bytes == "" and not even_if_empty then return nil end
    local body = {}
    function body:length() return #bytes end
    function body:getBytes(index, length) return bytes:sub(index + 1, index + length) end
    function body:setBytes(text) bytes = text; return #text end
    return body
  end
  local done, status, text = coroutine.resume(coroutine.create(rawget(_G, callback)), handle)
  if not done then error(status, 0) end
  return bytes, status, text
end

return defined, run
"""


class Response(NamedTuple):
    """An HTTP response as the caller gets it."""

    headers: dict[str, str]
    body: str

    def violations(self) -> dict[str, str]:
        """Return the descriptions by field, after checking that this is a refusal."""
        assert (self.headers[":status"], self.headers["content-type"]) == ("422", "application/json")
        assert self.headers["content-length"] == str(len(self.body))
        (details,) = json.loads(self.body)["details"]
        return {violation["field"]: violation["description"] for violation in details["fieldViolations"]}


class Filter:
    """The filter of envoy.lua in a fake of Envoy."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(unpack_returned_tuples=True)
        defined, self._run = self._lua.execute(FAKE_ENVOY, str(ROOT / "envoy.lua"))
        self.globals = set(defined.values())

    def pass_request(
        self, path: str | None, route: str = "search", headers: Mapping[str, str] = NO_HEADERS
    ) -> dict[str, str] | Response:
        """Return the headers that go on to the transcoder, or the refusal that the caller gets."""
        values = self._lua.table_from(headers if path is None else {":path": path, **headers})
        _, status, text = self._run("envoy_on_request", route, values, "")
        return dict(values) if status is None else self.pass_response(status, text, "text/plain", route)

    def pass_response(
        self,
        status: str,
        body: str = "",
        content_type: str = "application/json",
        route: str = "search",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Response:
        """Return the response that the caller gets."""
        own = {":status": status, "content-type": content_type, "content-length": str(len(body.encode()))}
        values = self._lua.table_from({**own, **headers})
        text, *replied = self._run("envoy_on_response", route, values, body)
        assert replied == [None, None]
        return Response(dict(values), text)

    def refuse(self, path: str, route: str = "search", headers: Mapping[str, str] = NO_HEADERS) -> dict[str, str]:
        """Return the violations in the refusal of a request."""
        refusal = self.pass_request(path, route, headers)
        assert isinstance(refusal, Response), refusal
        return refusal.violations()


@pytest.fixture(scope="module")
def lua() -> Filter:
    return Filter()


def test_it_defines_only_the_two_functions_that_envoy_calls(lua: Filter) -> None:
    assert lua.globals == {"envoy_on_request", "envoy_on_response"}


@pytest.mark.parametrize(
    ("message", "field", "description"),
    [  # As the transcoder of Envoy 1.40 words them.
        ('Could not find field "x" in the type "data_analytics.v1.Q".', "x", "is not a known query parameter"),
        (
            'Encountered a non-leaf field "customer_id" that is not a message while parsing a field path',
            "customer_id",
            "has no fields of its own",
        ),
        (
            'The binding value "m" of the field message is conflicting with the value "n" in the body.',
            "message",
            "differs between the query and the body",
        ),
        (
            ": invalid value oneof field '_page' is already set. Cannot set 'page' for type oneof",
            "page",
            "is given more than once",
        ),
        (
            ": invalid value Starting an object on a scalar field for type message",
            "message",
            "must be a single value, not an object",
        ),
        ("user_id: invalid value 5 for type TYPE_STRING", "user_id", "must be a string"),
        ("events[0].user_id: invalid value 5 for type TYPE_STRING", "events[0].user_id", "must be a string"),
        ('page: invalid value "one" for type TYPE_INT32', "page", "must be a whole number of at most 32 bits"),
        ('page_size: invalid value "x" for type TYPE_INT32', "pageSize", "must be a whole number of at most 32 bits"),
        ('latest: invalid value "maybe" for type TYPE_BOOL', "latest", "must be true or false"),
        (
            'version_info: invalid value "a: b" for type type.googleapis.com/google.protobuf.Struct',
            "version_info",
            "must be a JSON object",
        ),
        (
            "events[1]: invalid value 5 for type type.googleapis.com/data_analytics.v1.CreateAnalyticsEventRequest",
            "events[1]",
            "must be a JSON object",
        ),
        (": Proto fields must have a name.", "", "has a key that is empty"),
        ('Number exceeds the range of double.\n{"a":1e999}\n     ^', "", "holds a number that is too large"),
        (": Proto field is not repeating, cannot start list.", "", "holds a list where a single value belongs"),
        ("version_info.fields[0]: Repeated map key: 'a' is already set.", "version_info", "has a key twice"),
        (
            "events[0].version_info.fields[0].value.struct_value.fields[0]: Repeated map key: 'a' is already set.",
            "events[0].version_info",
            "has a key twice",
        ),
        (": Root element must be a message.", "", "must be a JSON object"),
        ("Unexpected token.\nnonsense\n^", "", "is not valid JSON: Unexpected token."),
        ("", "", "is not valid JSON: "),
    ],
)
def test_an_error_of_the_transcoder_names_the_field_in_plain_words(
    lua: Filter, message: str, field: str, description: str
) -> None:
    assert lua.pass_response("400", message, "text/plain").violations() == {field: description}


def test_a_refusal_is_a_google_rpc_status_as_json(lua: Filter) -> None:
    assert lua.pass_response("400", ": Root element must be a message.", "text/plain").body == (
        '{"code":3,"message":"the body must be a JSON object","details":[{'
        '"@type":"type.googleapis.com/google.rpc.BadRequest",'
        '"fieldViolations":[{"field":"","description":"must be a JSON object"}]}]}'
    )
    refusal = lua.pass_response("400", "latest: invalid value 5 for type TYPE_BOOL", "text/plain")
    assert json.loads(refusal.body)["message"] == "latest must be true or false"


def test_text_of_the_caller_cannot_break_the_json(lua: Filter) -> None:
    message = 'Could not find field "a"b\\c\n\t\x7fé%" in the type "Q".'
    assert set(lua.pass_response("400", message, "text/plain").violations()) == {'a"b\\c%0A%09%7F%C3%A9%'}


@pytest.mark.parametrize("value", ["x", "é", '"'])
def test_a_huge_error_names_its_field_in_a_short_answer(lua: Filter, value: str) -> None:
    huge = value * 1_000_000
    refusal = lua.pass_response("400", f'message: invalid value "{huge}" for type TYPE_BOOL', "text/plain")
    assert refusal.violations() == {"message": "must be true or false"}
    refusal = lua.pass_response("400", f'Could not find field "{huge}" in the type "Q".', "text/plain")
    assert set(refusal.violations().values()) == {"is not a known query parameter"}
    assert len(refusal.body) < 8_000
    assert len(lua.pass_response("400", huge, "text/plain").body) < 8_000


@pytest.mark.parametrize("brackets", ["[]", "[%5d", "[%5D", "%5b]", "%5B]", "%5b%5d", "%5B%5D", "%5b%5D", "%5B%5d"])
def test_recording_id_may_have_brackets_in_any_spelling(lua: Filter, brackets: str) -> None:
    sent = f"{SEARCH}?recording_id{brackets}=a&user_id=[]&recording_id=b&recording_id{brackets}=%5B%5D"
    assert lua.pass_request(sent) == {":path": f"{SEARCH}?recording_id=a&user_id=[]&recording_id=b&recording_id=%5B%5D"}


@pytest.mark.parametrize(
    "query",
    [
        *("", "recording_id=a&recording_id=b", "recording_id[0]=a", "recording_id%5D%5B=a", "recording_id%255B=a"),
        *("customer_id[]=a", "xrecording_id[]=a", "a=recording_id[]", "a=&b=", "a=b=c", "a==", "&", "a=1&", "&&a=1"),
        *("customer_id=a&xcustomer_id=b", "user_id=&lead_id=&contact_id=&latest=", "customer_id=user_id=1&user_id=1"),
    ],
)
def test_any_other_query_passes_unchanged(lua: Filter, query: str) -> None:
    assert lua.pass_request(f"{SEARCH}?{query}") == {":path": f"{SEARCH}?{query}"}


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("latest", "latest="),
        ("a&b&c=1&d", "a=&b=&c=1&d="),
        ("&a&", "&a=&"),
        ("recording_id[]", "recording_id="),
        ("a&recording_id%5B%5D=b", "a=&recording_id=b"),
    ],
)
def test_a_parameter_without_an_equals_sign_gets_one(lua: Filter, sent: str, passed: str) -> None:
    assert lua.pass_request(f"{SEARCH}?{sent}") == {":path": f"{SEARCH}?{passed}"}


@pytest.mark.parametrize("query", ["=", "=x", "a=1&=", "&=&", "=&page=1", "recording_id[]=a&=b"])
def test_a_parameter_without_a_name_is_refused(lua: Filter, query: str) -> None:
    assert lua.refuse(f"{SEARCH}?{query}") == {"=": "is not a known query parameter"}


@pytest.mark.parametrize("name", ["customer_id", "user_id", "lead_id", "contact_id", "latest"])
@pytest.mark.parametrize("query", ["{0}=a&{0}=b", "{0}=a&{0}=a", "{0}=&page=1&{0}=", "{0}&{0}", "page=1&{0}=a&{0}"])
def test_a_parameter_that_belongs_once_may_not_be_repeated(lua: Filter, name: str, query: str) -> None:
    assert lua.refuse(f"{SEARCH}?{query.format(name)}") == {name: "is given more than once"}


def test_a_query_of_ten_thousand_parameters_passes(lua: Filter) -> None:
    query = "recording_id[]&" * 10_000
    assert lua.pass_request(f"{SEARCH}?{query}") == {":path": f"{SEARCH}?{'recording_id=&' * 10_000}"}


@pytest.mark.parametrize("route", ["create", "batch"])
@pytest.mark.parametrize(
    ("query", "name"), [("message=m", "message"), ("a", "a"), ("a&b=c", "a"), ("=", "="), ("=x", "="), ("&a=b", "&")]
)
def test_a_route_that_takes_a_body_takes_no_parameters(lua: Filter, route: str, query: str, name: str) -> None:
    assert lua.refuse(f"/create?{query}", route) == {name: "is not a known query parameter"}


@pytest.mark.parametrize("path", ["/create", "/create?"])
@pytest.mark.parametrize("route", ["create", "batch"])
def test_a_create_with_a_body_and_without_parameters_passes(lua: Filter, route: str, path: str) -> None:
    framing = {"content-length": "5", "transfer-encoding": "chunked"}
    assert lua.pass_request(path, route, framing) == {":path": path, **framing}


@pytest.mark.parametrize("framing", [{"content-length": "1"}, {"transfer-encoding": "chunked"}])
def test_a_search_with_a_body_is_refused(lua: Filter, framing: dict[str, str]) -> None:
    assert lua.refuse(f"{SEARCH}?page=1", headers=framing) == {"": "must be empty on this route"}


def test_a_search_with_an_empty_body_passes(lua: Filter) -> None:
    assert lua.pass_request(SEARCH, headers={"content-length": "0"}) == {":path": SEARCH, "content-length": "0"}


def test_only_headers_that_the_server_needs_reach_it(lua: Filter) -> None:
    needed = {":authority": "a", ":method": "POST", ":scheme": "http", "x-forwarded-proto": "http"}
    needed |= {"content-type": "application/json", "idempotency-key": "k", "x-request-id": "r"}
    others = dict.fromkeys(("cookie", "user-agent", "te", "grpc-timeout", "x-from-json", "x-bin", "expect"), "v")
    assert lua.pass_request("/create", "create", needed | others) == needed | {":path": "/create"}


@pytest.mark.parametrize("name", ["idempotency-key", ":authority"])
@pytest.mark.parametrize(("length", "passed"), [(255, 255), (256, 256), (257, 256), (150_000, 256)])
def test_a_header_of_any_length_is_cut(lua: Filter, name: str, length: int, passed: int) -> None:
    assert lua.pass_request("/create", "create", {name: "h" * length}) == {":path": "/create", name: "h" * passed}


def test_a_connect_without_a_path_passes(lua: Filter) -> None:
    assert lua.pass_request(None, "", {":method": "CONNECT"}) == {":method": "CONNECT"}


@pytest.mark.parametrize(
    ("route", "status", "changed"),
    [
        *(("create", "200", "201"), ("batch", "200", "200"), ("search", "200", "200")),
        *(
            ("create", "501", "404"),
            ("search", "501", "404"),
            ("", "404", "404"),
            ("create-other-method", "405", "405"),
        ),
        *(("create", "409", "409"), ("create", "429", "429"), ("create", "500", "500"), ("search", "503", "503")),
    ],
)
def test_a_status_becomes_the_documented_one(lua: Filter, route: str, status: str, changed: str) -> None:
    response = lua.pass_response(status, "{}", route=route)
    assert response == ({":status": changed, "content-type": "application/json", "content-length": "2"}, "{}")


def test_a_call_that_the_server_cancelled_becomes_a_503_to_retry(lua: Filter) -> None:
    headers = lua.pass_response("499").headers
    assert (headers[":status"], headers["retry-after"]) == ("503", "1")


def test_a_refusal_by_the_server_becomes_a_422_without_empty_reasons(lua: Filter) -> None:
    violation = '{{"field":"{}","description":"value is required"{}}}'
    body = '{{"details":[{{"fieldViolations":[{},{}]}}]}}'
    sent = body.format(violation.format("é", ',"reason":""'), violation.format("b", ',"reason":""'))
    response = lua.pass_response("400", sent)
    assert response.body == body.format(violation.format("é", ""), violation.format("b", ""))
    assert response.headers[":status"] == "422"
    assert response.headers["content-length"] == str(len(response.body.encode()))


def test_a_json_response_shows_no_headers_of_grpc(lua: Filter) -> None:
    names = ("grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding")
    response = lua.pass_response("200", "{}", headers=dict.fromkeys(names, "v") | {"retry-after": "1"})
    assert response.headers.keys() == {":status", "content-type", "content-length", "retry-after"}


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
@pytest.mark.parametrize("status", ["200", "400", "499", "501"])
def test_a_native_grpc_response_is_unchanged(lua: Filter, content_type: str, status: str) -> None:
    headers = {"grpc-status": "3"}
    response = lua.pass_response(status, "\0", content_type, "create", headers)
    assert response == ({":status": status, "content-type": content_type, "content-length": "1", **headers}, "\0")
