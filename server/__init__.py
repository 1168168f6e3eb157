"""The gRPC server: transport over `storage`, and the stack that runs it with PostgreSQL and Envoy (`server.stack`)."""
