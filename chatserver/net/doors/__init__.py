"""Doors: what turns the bytes of a connection into lines and back."""
