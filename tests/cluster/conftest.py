"""Fixtures: clusters of halls on one database."""
