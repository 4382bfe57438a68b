"""Nodes of one database: leases, notifications, and which versions may serve together."""
