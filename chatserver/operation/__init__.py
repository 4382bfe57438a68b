"""What administrators see of a running server: its log, metrics and control socket, and its status in systemd."""
