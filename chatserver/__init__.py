"""A chat server that one can use with nothing but telnet: every answer means stored."""

__version__ = "1.0.0"
