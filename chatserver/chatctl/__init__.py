"""The command `chatctl` of administrators: it changes the database, and sends requests to the running server.

Running servers follow its changes through the table `change`: see `store.change_rows`.
"""
