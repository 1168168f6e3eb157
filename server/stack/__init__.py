"""The whole service on one machine: starts PostgreSQL, the server and Envoy, supervises them, and stops them in order.

`make run` runs it as `python -m server.stack`.
"""
