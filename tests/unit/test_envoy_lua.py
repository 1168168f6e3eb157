"""envoy.lua without Envoy, in the LuaJIT that Envoy embeds."""

from typing import Any

import pytest
from lupa.luajit21 import LuaRuntime

from tests.support.processes import ROOT

# The part of Envoy's handle that the filter uses.
_HANDLE = """
return function(values, route)
  local headers = {}
  function headers:get(name) return values[name] end
  function headers:replace(name, value) values[name] = value end
  function headers:remove(name) values[name] = nil end
  return {
    headers = function() return headers end,
    streamInfo = function() return { routeName = function() return route end } end,
  }
end
"""


@pytest.fixture
def lua() -> Any:
    runtime = LuaRuntime(unpack_returned_tuples=True)
    before = set(runtime.globals())
    runtime.execute((ROOT / "envoy.lua").read_text())
    assert set(runtime.globals()) - before == {"envoy_on_response"}
    return runtime


def respond(lua: Any, route: str, **headers: str) -> dict[str, str]:
    values = lua.table_from({name.replace("_", "-"): value for name, value in headers.items()})
    handle = lua.execute(_HANDLE)(values, route)
    lua.globals().envoy_on_response(handle)
    return dict(values)


@pytest.mark.parametrize(
    ("route", "headers", "changed"),
    [
        ("create", {":status": "200"}, {":status": "201"}),
        ("search", {":status": "200"}, {":status": "200"}),
        ("batch", {":status": "200"}, {":status": "200"}),
        ("create", {":status": "200", "x-http-status": "422"}, {":status": "422"}),
        ("search", {":status": "200", "x-http-status": "415"}, {":status": "415"}),
        ("create", {":status": "499"}, {":status": "503", "retry-after": "1"}),
        ("create", {":status": "503"}, {":status": "503"}),
        ("create", {":status": "429", "retry-after": "1"}, {":status": "429", "retry-after": "1"}),
    ],
)
def test_the_status_is_the_one_of_the_documented_api(
    lua: Any, route: str, headers: dict[str, str], changed: dict[str, str]
) -> None:
    assert respond(lua, route, **headers) == changed
