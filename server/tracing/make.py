"""Whether calls are traced, as OpenTelemetry's own variables say, and what then traces them."""

import importlib.util
import re
from collections.abc import Mapping

from server.tracing.interface import Tracer
from server.variables import ConfigurationError, read_word

# What follows the port has no meaning for gRPC.
_ENDPOINT = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+):[0-9]{1,5}(/.*)?", re.ASCII)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SAMPLERS = (
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
)


def read_endpoint(environment: Mapping[str, str]) -> str:
    """Return where traces go, as a URL, or "" if calls are not traced.

    Raises:
        ConfigurationError: a variable is malformed, or asks for what is not supported or not installed.
    """
    variable = next((name for name in _ENDPOINTS if environment.get(name)), "")
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not variable or is_off or read_word(environment, "OTEL_TRACES_EXPORTER", ("otlp", "none")) == "none":
        return ""
    for name in _PROTOCOLS:
        read_word(environment, name, ("grpc",))
    read_share(environment)
    url = environment[variable]
    if not _ENDPOINT.fullmatch(url):
        raise ConfigurationError(f"{variable} is {url!r}: it must be a URL with a port, such as http://localhost:4317")
    if importlib.util.find_spec("opentelemetry") is None:
        raise ConfigurationError(f"{variable} is set, and OpenTelemetry is not installed: see docs/tracing.md")
    return url


def read_share(environment: Mapping[str, str]) -> float:
    """Return which share of the calls is traced whose callers do not say whether they are.

    Raises:
        ConfigurationError: a variable is malformed.
    """
    sampler = read_word(environment, "OTEL_TRACES_SAMPLER", _SAMPLERS)
    if not sampler.endswith("ratio"):
        return float(sampler.endswith("on"))
    text = environment.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigurationError(f"OTEL_TRACES_SAMPLER_ARG is {text!r}: it must be a share from 0 to 1")
    return share


def make_tracer() -> Tracer:
    """Return what traces calls, as the environment says. Nothing of OpenTelemetry is imported before.

    Raises:
        ConfigurationError: OpenTelemetry finds a variable malformed.
    """
    from server.tracing.telemetry import Telemetry, make_exporter

    try:
        return Telemetry(make_exporter())
    except Exception as error:  # noqa: BLE001 - it raises what it likes for each variable
        raise ConfigurationError(f"a variable of OpenTelemetry (OTEL_…) is malformed: {error}") from None
