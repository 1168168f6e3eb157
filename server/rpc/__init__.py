"""The gRPC surface: one method for each RPC, its bounds, and the status of every failure."""
