"""Who may call, and what: keys, tokens, and the callers that they stand for."""
