"""Doors, which turn the bytes of a connection into lines and back."""
