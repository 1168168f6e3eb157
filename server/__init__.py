"""The gRPC server: transport over `storage`, and the stack that runs it with PostgreSQL and Envoy (`server.stack`)."""

import os

# One thread of gRPC's that waits for sockets and for calls, in place of one for each: a call then wakes two threads and
# not four, a seventh less processor time for an RPC that does nothing. gRPC reads this when it is imported.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
