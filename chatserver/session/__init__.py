"""A logged-in client, without its socket: positions, screen, and what waits to be sent again."""
