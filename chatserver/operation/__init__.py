"""What administrators see of a running server: its log, metrics, control socket, and what systemd is told."""
