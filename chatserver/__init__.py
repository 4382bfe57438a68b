"""A chat server that you can use with nothing but telnet: every answer means stored."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("chatserverd")
except PackageNotFoundError:  # a bare copy of the sources, never installed
    __version__ = "0+unknown"
