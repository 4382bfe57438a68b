"""What tests stand on: real databases, the real server process, clients that wait with a deadline and never sleep.

- `postgres`: a Postgres from a wheel, or the one named by CHATSERVER_TEST_DATABASE.
- `process`: `twistd chatserver` as a child process.
- `client`: `Raw`, `JsonClient`, `TextClient` over blocking sockets.

Fixtures that hand these out, and end them, are in `tests/conftest.py`.
"""
