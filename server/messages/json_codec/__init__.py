"""JSON in and out: bodies and queries to events and queries, and events and pages to answers. Strictly RFC 8259.

The fast readers only ever accept. What they do not accept goes to `explain`, which says what is wrong with it.
"""
