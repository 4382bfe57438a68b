"""A logged-in client without its socket: its rooms, screen and read marks, and how much may wait for it."""
