-- What Envoy's configuration cannot express: the status of a JSON response. A refusal names it in a header.

function envoy_on_response(handle)
  local headers = handle:headers()
  local refused = headers:get("x-http-status")
  if refused then
    headers:replace(":status", refused)
    headers:remove("x-http-status")
    return
  end
  local status = headers:get(":status")
  if status == "200" then
    if handle:streamInfo():routeName() == "create" then headers:replace(":status", "201") end
  elseif status == "499" then -- gRPC's CANCELLED, but the caller is still waiting: its worker stopped
    headers:replace(":status", "503")
    headers:replace("retry-after", "1")
  end
end
