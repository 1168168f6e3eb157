"""The text that the stack prints once it is up."""

import json
import shlex

from server.settings import format_host
from server.stack.settings import StackSettings, hide_password

_EVENT = {
    "customer_id": "acme",
    "user_id": "user-1",
    "lead_id": "lead-1",
    "recording_id": "recording-1",
    "event_type": "view",
}


def format_banner(settings: StackSettings, database_url: str) -> str:
    """Return the addresses of everything, and a command to try that stands on one line."""
    host = format_host(settings.connect_address)
    http = f"http://{host}:{settings.http_port}"
    return f"""
The service is up.

  HTTP          {http}
  gRPC          {host}:{", ".join(map(str, settings.grpc_ports))}
  Envoy admin   http://127.0.0.1:{settings.envoy_admin_port}
  DATABASE_URL  {shlex.quote(hide_password(database_url))}

To store a first event:

curl -i {http}/api/v1/lead_analytics -H 'content-type: application/json' -d '{json.dumps(_EVENT)}'

Ctrl-C stops everything.
"""
