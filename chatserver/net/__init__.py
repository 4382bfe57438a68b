"""Sockets: everything that touches a transport. Knows no database."""
