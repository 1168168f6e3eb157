"""The text that the stack prints once it is up."""

import json
import shlex
from pathlib import Path

from server.addresses import format_host
from server.stack.settings import DatabaseUrls, StackSettings, hide_password

_EVENT = {
    "customer_id": "acme",
    "user_id": "user-1",
    "lead_id": "lead-1",
    "recording_id": "recording-1",
    "event_type": "view",
}


def format_banner(settings: StackSettings, urls: DatabaseUrls, admin: Path, *, auth: bool) -> str:
    """Return the addresses of everything, and a command to try that stands on one line.

    Args:
        settings: The settings of the stack.
        urls: The database.
        admin: The Unix socket of Envoy's admin interface.
        auth: Whether callers need credentials.
    """
    host = format_host(settings.connect_address)
    http = f"{'https' if settings.tls else 'http'}://{host}:{settings.http_port}"
    lines = {
        "HTTP": http,
        "gRPC": f"{host}:{', '.join(map(str, settings.grpc_ports))}",
        "AUTH": "on: callers need a key or token" if auth else _describe_off(settings),
        "Metrics": _describe_metrics(settings),
        "Envoy admin": f"curl --unix-socket {shlex.quote(str(admin))} http://envoy/",
        "DATABASE_URL": shlex.quote(hide_password(urls.server)),
    }
    if urls.owner != urls.server:
        lines["OWNER_DATABASE_URL"] = shlex.quote(hide_password(urls.owner))
    trust = f" --cacert {shlex.quote(str(settings.tls.certificate))}" if settings.tls else ""
    if settings.tls and settings.tls.client_ca:
        trust += " --cert YOUR.crt --key YOUR.key"
    addresses = "\n".join(f"  {name:<18}  {value}" for name, value in lines.items())
    key = " -H 'authorization: Bearer sk_…'" if auth else ""
    return f"""
The service is up.

{addresses}

To store a first event:

curl -i{trust} {http}/api/v1/lead_analytics -H 'content-type: application/json'{key} -d '{json.dumps(_EVENT)}'

Ctrl-C stops everything.
"""


def _describe_metrics(settings: StackSettings) -> str:
    if settings.metrics_port is None:
        return "off"
    return f"http://{format_host(settings.metrics_address)}:{settings.metrics_port}/metrics"


def _describe_off(settings: StackSettings) -> str:
    everyone = "off: anyone who reaches a port can read and write everything"
    return everyone if settings.auth is False else f"{everyone}, until you make a key (docs/access.md)"
