"""Protobuf messages: their rules, their conversion to events and back, and the text of every refusal."""
