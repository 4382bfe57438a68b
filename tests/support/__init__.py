"""Building blocks of tests: real databases, real server processes, and clients that wait with a deadline.

- `postgres`: a Postgres server from a wheel, or the one named by CHATSERVER_TEST_DATABASE.
- `migrated`: an empty database of the newest schema, of which tests get copies.
- `process`: `twistd chatserver` as a child process.
- `client`: `Raw`, `JsonClient` and `TextClient` over blocking sockets; they wait with a deadline and never sleep.
- `hall`: the whole server in memory, on a fake clock, with clients over transports that take what the test says.
- `link`, `memory`: stand-ins for a session's link and for the store.
- `websocket`: a WebSocket client over a blocking socket.
- `transcript`: recorded conversations, and playing them to a server.
- `certificate`: a self-signed certificate for TLS.

The fixtures in `tests/conftest.py` create these objects, and end them with the test.
"""
