-- What Envoy's configuration cannot express: the status of a JSON response, which the server sends as a header.

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get("x-http-status")
  if status then
    headers:replace(":status", status)
    headers:remove("x-http-status")
  elseif headers:get(":status") == "499" then -- gRPC's CANCELLED, but the caller still waits: the worker stopped
    headers:replace(":status", "503")
    headers:replace("retry-after", "1")
  end
end
