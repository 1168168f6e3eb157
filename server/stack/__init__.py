"""The whole service on one machine: PostgreSQL, the server and Envoy, started together, watched, and stopped in order.

`python -m server.stack` (what `make run` runs) is the entry; `server.stack.postgres` also serves the tests.
"""
