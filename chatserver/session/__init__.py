"""A logged-in client without its socket: positions, screen, and messages kept for `/retry`."""
