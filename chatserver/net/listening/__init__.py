"""Endpoints, ports and TLS: where the server listens."""
