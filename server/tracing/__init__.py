"""Traces by OpenTelemetry. What does the tracing is imported only where it is on: see `server.tracing.make`."""
