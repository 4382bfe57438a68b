"""The command `chatctl`, for the administrator of a server. It only talks to the database.

It records its changes for running servers, which look for them every second: see `store.changes`.
"""
