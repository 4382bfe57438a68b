"""The control socket, over which `chatctl` sends requests to a running server."""
