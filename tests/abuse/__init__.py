"""`make chaos`, its second table: what one caller can do to another."""
