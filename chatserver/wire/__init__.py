"""Grammars: bytes to words and back, with no sockets anywhere."""
