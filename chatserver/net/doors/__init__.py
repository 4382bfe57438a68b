"""Doors, which connect a framing of `wire/framing/` to Twisted."""
