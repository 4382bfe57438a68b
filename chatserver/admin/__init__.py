"""The command `chatctl`, for whoever runs the server. It talks to the database only.

What it changes is written down for running servers too (see `store.schema.Change`), which look every second.
"""
