"""Where the server listens: endpoints, ports, TLS."""
