"""A failover between two PostgreSQL servers with synchronous streaming replication."""

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_kept, under_load, wait_for_load
from tests.support.client import JsonClient
from tests.support.postgres import PostgresServer
from tests.support.process import wait_until

pytestmark = pytest.mark.slow


class Standby(PostgresServer):
    """A hot standby of another server, which streams from it."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__()

    def _initdb(self) -> None:
        if not (self._programs / "pg_basebackup").exists():
            pytest.skip("This PostgreSQL has no pg_basebackup.")
        source = ("-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres")
        how = ("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
        self.program("pg_basebackup", *source, "-D", str(self._data), *how)


def execute(server: PostgresServer, *statements: str) -> object:
    """Runs statements outside transactions; returns the last one's first value."""
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        *others, last = statements
        for statement in others:
            db.execute(text(statement))
        found: object = db.execute(text(last)).scalar()
    engine.dispose()
    return found


def test_a_failover_under_load(postgres_server: PostgresServer, server: StartServer, connect: Connect) -> None:
    """The primary crashes, and its synchronous standby takes over: the server finds it without a restart. Nothing that
    was acknowledged is lost or stored twice, no connection ends, and all that clients know holds in the new epoch."""
    database = postgres_server.create_database()
    name = make_url(database).database
    with Standby(postgres_server) as standby:
        execute(
            postgres_server, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()",
        )  # fmt: skip
        wait_until(
            lambda: execute(postgres_server, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1,
            30,
            "the standby is synchronous",
        )
        hosts = f"host=127.0.0.1:{postgres_server.port}&host=127.0.0.1:{standby.port}"
        url = f"postgresql+psycopg2://postgres@/{name}?{hosts}&target_session_attrs=read-write"
        chat = server(url, config=QUICK + "[pipeline]\ndatabase_seconds = 3\n")
        assert "WARN" not in chat.log
        ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
        talkers = under_load(ana, bob, cai)

        postgres_server.stop()
        wait_until(lambda: all(talker.unavailable for talker in talkers), what="every talker has been refused")
        assert execute(standby, "SELECT pg_promote()") is True
        wait_for_load(talkers, 50)
        for talker in talkers:
            talker.stop()

        head = cai.ok("history", room="general", limit=1)["entries"][-1]["seq"]
        for client in (ana, bob, cai):
            client.wait_seq("general", head)
            assert not client.ended
            assert client.wait_event("epoch")["epoch"]
        check_kept(standby.url(str(name)), [*talkers, Talker(cai, "cai", [])])
        assert chat.stop() == 0
