"""Copies of a database: backup, restore, export, import, verification."""
