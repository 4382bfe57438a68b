"""The control socket: what `chatctl` asks of a running server."""
