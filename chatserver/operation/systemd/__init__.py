"""Notifications to systemd: readiness, status, and that the server is alive."""
