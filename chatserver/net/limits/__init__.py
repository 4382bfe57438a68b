"""Limits of connections, of addresses and of accounts."""
