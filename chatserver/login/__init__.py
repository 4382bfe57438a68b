"""From the first line of a connection to a session that is logged in: handshake, passwords, guests, tokens."""
