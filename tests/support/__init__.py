"""What several tests share: servers to test, requests to send, faults to cause."""
