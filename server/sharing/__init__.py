"""What customers share, and how: so that none of them can take the service from another."""
