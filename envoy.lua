-- The part of the HTTP contract that Envoy's configuration cannot express. envoy.yaml runs this filter on JSON calls:
-- a request passes it before the transcoder, a response after it.
--
-- In requests it removes headers, and rewrites or refuses queries that the transcoder would misread. In responses it
-- sets the statuses 201, 404, 422 and 503, and turns the transcoder's plain-text errors into google.rpc.Status as JSON.
-- It refuses a request with an error in the transcoder's form, so that one table holds the wording of both.

-- Headers of gRPC that the transcoder leaves in JSON responses.
local GRPC_HEADERS = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding",
}

-- Each error: a pattern that captures the field at fault ("" for the whole body), and the description for the caller.
local ERRORS = {
  { '^Could not find field "(.*)" in the type', "is not a known query parameter" },
  { '^Encountered a non%-leaf field "(.-)"', "has no fields of its own" },
  { '^The binding value ".*" of the field (%S+) is conflicting', "differs between the query and the body" },
  { "^: invalid value oneof field .* is already set%. Cannot set '(.-)'", "is given more than once" },
  { "^: invalid value Starting an object on a scalar field for type (.*)", "must be a single value, not an object" },
  { "^(.*) is given more than once$", "is given more than once" },
  { "^([^:]*): invalid value .* for type TYPE_STRING$", "must be a string" },
  { "^([^:]*): invalid value .* for type TYPE_INT32$", "must be a whole number of at most 32 bits" },
  { "^([^:]*): invalid value .* for type TYPE_BOOL$", "must be true or false" },
  { "^([^:]*): invalid value .* for type type%.googleapis%.com/[%w_.]+$", "must be a JSON object" },
  { "^([^:]*): Proto fields must have a name", "has a key that is empty" },
  { "^([^:]*)Number exceeds the range of double", "holds a number that is too large" },
  { "^([^:]*): Proto field is not repeating", "holds a list where a single value belongs" },
  { "^([^:]*): a body where none belongs$", "must be empty on this route" },
  { "^([^:]-)%.fields%[[^:]*: Repeated map key", "has a key twice" },
  { "^([^:]*): Root element must be a message", "must be a JSON object" },
}

-- The server receives every header as metadata. It accepts little metadata, and some names, such as grpc-timeout, mean
-- something there that an HTTP caller does not intend. Only these headers pass; Envoy adds its own after this filter.
local FORWARDED_HEADERS = {
  [":authority"] = true, [":method"] = true, [":path"] = true, [":scheme"] = true, ["content-length"] = true,
  ["content-type"] = true, ["transfer-encoding"] = true, ["x-forwarded-proto"] = true,
  ["idempotency-key"] = true, ["x-request-id"] = true,
}

-- Forwarded headers that may be of any length are cut: over 8 KiB of metadata, gRPC rejects some calls at random, in
-- its own words. A valid idempotency key is shorter than the limit, so the server still refuses a key that was cut.
local UNBOUNDED_HEADERS = { "idempotency-key", ":authority" }
local HEADER_LIMIT = 256

-- Parameters that may be given once. If one of them is repeated, the transcoder takes the last, and the caller may mean
-- the first. It refuses repeated page and pageSize itself.
local SINGLE_PARAMETERS = { "customer_id", "user_id", "lead_id", "contact_id", "latest" }

-- Many clients write a list as recording_id[]=a, with or without percent-encoding.
local LIST_SUFFIXES = { ["[]"] = true, ["[%5d"] = true, ["%5b]"] = true, ["%5b%5d"] = true }

-- Return `text` as a JSON string. It may hold any bytes: those that are not printable ASCII are percent-encoded.
local function quote(text)
  return '"' .. text:gsub('["\\]', "\\%0"):gsub("[^ -~]", function(c) return ("%%%02X"):format(c:byte()) end) .. '"'
end

-- Return the JSON body of a 422.
local function build_refusal(field, description)
  return '{"code":3,"message":' .. quote((field == "" and "the body" or field) .. " " .. description)
    .. ',"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":'
    .. quote(field) .. ',"description":' .. quote(description) .. "}]}]}"
end

-- Return the JSON body for an error message of the transcoder or of this filter.
local function translate_error(message)
  if #message > 1000 then -- it quotes the caller's value, which may be of any length
    message = message:sub(1, 500) .. message:sub(-500)
  end
  for _, known in ipairs(ERRORS) do
    local field = message:match(known[1])
    -- The transcoder uses the proto's name. It differs from the JSON name in this one field only.
    if field then return build_refusal(field == "page_size" and "pageSize" or field, known[2]) end
  end
  return build_refusal("", "is not valid JSON: " .. message:match("^[^\n]*"))
end

-- End the request with an error in the transcoder's form: Envoy does not return from respond().
local function refuse(handle, message)
  handle:respond({ [":status"] = "400" }, message)
end

local function refuse_unknown_parameter(handle, name)
  refuse(handle, 'Could not find field "' .. name .. '" in the type')
end

local function filter_headers(headers)
  local removed = {} -- the headers cannot be changed while they are iterated over
  for name in pairs(headers) do
    if not FORWARDED_HEADERS[name] then removed[#removed + 1] = name end
  end
  for _, name in ipairs(removed) do headers:remove(name) end
  for _, name in ipairs(UNBOUNDED_HEADERS) do
    local value = headers:get(name)
    if value and #value > HEADER_LIMIT then headers:replace(name, value:sub(1, HEADER_LIMIT)) end
  end
end

-- Return a query, which begins and ends with "&", in the form that the transcoder understands and checks.
local function normalize_query(query)
  -- The plain searches come first because gsub is slow on a long query.
  if query:find("recording_id[", 1, true) or query:find("recording_id%5", 1, true) then
    query = query:gsub("(&recording_id)([%[%%][^&=]*)", function(name, suffix)
      return LIST_SUFFIXES[suffix:lower()] and name
    end)
  end
  -- The transcoder ignores a parameter without "=", even an unknown one. With "=" it checks every name.
  if query:find("&[^&=]+&") then query = query:gsub("(&[^&=]+)%f[&]", "%1=") end
  return query
end

-- Refuse a normalized query if it holds parameters that the transcoder would accept although they are wrong.
local function check_query(handle, query)
  if query:find("&=", 1, true) then refuse_unknown_parameter(handle, "=") end -- the transcoder ignores an empty name
  for _, name in ipairs(SINGLE_PARAMETERS) do
    local parameter = "&" .. name .. "="
    local _, stop = query:find(parameter, 1, true)
    if stop and query:find(parameter, stop, true) then refuse(handle, name .. " is given more than once") end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  filter_headers(headers)
  local path = headers:get(":path") or "" -- CONNECT has none
  local mark = path:find("?", 1, true)
  -- The transcoder would merge the body of a search into its parameters, and the parameters of a create into its body.
  local route = handle:streamInfo():routeName()
  if route == "search" then
    local length = headers:get("content-length")
    if (length and length ~= "0") or headers:get("transfer-encoding") then
      refuse(handle, ": a body where none belongs")
    end
  elseif mark and mark < #path and (route == "create" or route == "batch") then
    refuse_unknown_parameter(handle, path:match("^[^=&]+", mark + 1) or path:sub(mark + 1, mark + 1))
  end
  if not mark then return end
  local query = "&" .. path:sub(mark + 1) .. "&"
  local normalized = normalize_query(query)
  check_query(handle, normalized)
  if normalized ~= query then headers:replace(":path", path:sub(1, mark) .. normalized:sub(2, -2)) end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local content_type = headers:get("content-type") or ""
  if content_type:find("application/grpc", 1, true) == 1 then return end
  for _, name in ipairs(GRPC_HEADERS) do headers:remove(name) end
  local status = headers:get(":status")
  if status == "200" and handle:streamInfo():routeName() == "create" then
    headers:replace(":status", "201")
  elseif status == "501" then -- UNIMPLEMENTED
    headers:replace(":status", "404")
  elseif status == "499" then -- CANCELLED, but the caller is still waiting: the server stopped during the call
    headers:replace(":status", "503")
    headers:replace("retry-after", "1")
  elseif status == "400" then -- INVALID_ARGUMENT
    headers:replace(":status", "422")
    headers:replace("content-type", "application/json")
    local body = handle:body(true)
    local text = body:getBytes(0, body:length())
    if content_type == "text/plain" then
      text = translate_error(text)
    else
      text = text:gsub(',"reason":""', "") -- a field of BadRequest that is never set, but is printed as all are
    end
    handle:headers():replace("content-length", body:setBytes(text)) -- `headers` is invalid after the wait for the body
  end
end
