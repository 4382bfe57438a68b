"""Everything that is kept: tables, statements, threads. Gives values, never rows; knows no sockets."""

from sqlalchemy import Connection, Engine

__all__ = ["Connection", "Engine"]
