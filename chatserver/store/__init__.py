"""Everything in the database: tables, statements, threads. Returns values, never rows; knows no sockets."""

from sqlalchemy import Connection, Engine

__all__ = ["Connection", "Engine"]
