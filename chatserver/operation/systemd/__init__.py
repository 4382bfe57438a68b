"""What systemd is told: readiness, status, and that the server is alive."""
