"""What several tests need: a server in this process, requests to send, an HTTP client."""
