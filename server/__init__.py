"""The gRPC server in front of `storage`, and `server.stack`, which runs it with PostgreSQL and Envoy."""

import os

# By default gRPC has one thread that waits for sockets and another that waits for calls. With this, one thread does
# both: a call wakes two threads instead of four, and an RPC that does nothing takes a seventh less processor time. gRPC
# reads the variable when it is imported.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

# Otherwise it writes a line, in a form of its own, for each malformed call that anybody sends. What goes wrong on our
# side comes back to us as an error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
