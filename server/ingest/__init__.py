"""What happens between a request and its commit: queueing, group commit, batches and streams."""
