"""Sockets: doors, connections, limits and ports. Everything that touches a transport; knows no database."""
