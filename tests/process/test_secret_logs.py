"""Nothing secret and no message's text is in any log: whatever a client sends, and whatever goes wrong."""

import json
from typing import Any

import pytest

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.values import commands
from chatserver.values.commands import Command
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, Raw

MARK = "xSECRETx"
PLAIN = {"room": "general", "name": "bob", "address": "192.0.2.9", "seq": 1, "role": "member", "resume": {"general": 0}}
"""Values that are no secret. All other texts are."""
NOT_SENT = (commands.TypedName, commands.TypedPassword, commands.Look, commands.Quit, commands.Logout, commands.Forget)

RAISING = """
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'bad row %', to_json(NEW) USING DETAIL = to_json(NEW), ERRCODE = '{code}';
END $$;
CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION spoil();
"""
TABLES = ("entry", "token", "ban", "room", "membership", "account")


def filled(kind: type[Command], number: int) -> dict[str, Any]:
    """A command with a mark in every text, as a client sends it."""
    message: dict[str, Any] = {"cmd": kind.__struct_config__.tag, "tag": number}
    for field in kind.__struct_fields__:
        if field in PLAIN:
            message[field] = PLAIN[field]
        elif field in ("text", "password", "token", "code", "old", "new", "topic", "reason", "label", "id", "about"):
            message[field] = f"{MARK}{number}"
    if kind is commands.Login:
        del message["resume"]
    return message


def every_command(client: JsonClient, start: int) -> None:
    """Sends each command there is, and reads what is answered."""
    kinds = [kind for kind in Command.__subclasses__() if kind not in NOT_SENT and kind.__struct_config__.tag]
    for number, kind in enumerate(kinds, start):
        message = filled(kind, number)
        client.send_object(message)
        client.answer(number, timeout=20)
        client.send_object({"cmd": message["cmd"], "tag": f"{MARK}{number}", MARK: MARK, "text": [MARK]})
        client.answer(f"{MARK}{number}", timeout=20)


def spoil(url: str, way: str) -> None:
    """Makes statements fail, so that the database's errors have what they were given."""
    engine = open_engine(parse_url(url))
    with engine.begin() as db:
        if way == "gone":
            for table in ("entry", "token", "ban"):
                db.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_gone")
        elif db.dialect.name == "postgresql":
            db.exec_driver_sql("DROP FUNCTION IF EXISTS spoil CASCADE")
            db.exec_driver_sql(RAISING.format(table="entry", code=way).replace("%'", "%%'"))
            for table in TABLES[1:]:
                trigger = "BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION spoil()"
                db.exec_driver_sql(f"CREATE TRIGGER spoil {trigger.format(table)}")
        else:
            for table in TABLES:
                db.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS spoil_{table} BEFORE INSERT ON {table} "
                    "BEGIN SELECT json(NEW.rowid || 'xSECRETx {'); END"
                )
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
def test_marks(form: str, database_url: str, server: StartServer, connect: Connect) -> None:
    """Every command is sent with marks as passwords, tokens, codes, messages, searches and everything else that people
    write, to a database that works, to one whose errors have rows in them, and to one that lacks tables. The log has no
    mark."""
    chat = server(
        database_url,
        config=f"[server]\nregistration = 'code'\nregistration_code = '{MARK}'\n[limits]\nstrikes = 0\n"
        "failed_logins = 1000000\noffences_per_address = 0\n",
        options=["--log-format", form, "--log-level", "debug"],
        faultless=False,
    )
    for name in ("ana", "bob"):
        client = connect(chat, JsonClient)
        client.ok("register", name=name, password=f"{MARK}-{name}", code=MARK)
    ana = connect(chat, JsonClient)
    assert ana.refused("login", name="ana", password=MARK) == "bad-credentials"
    assert ana.refused("login", token=f"ct_{MARK}") == "bad-credentials"
    assert ana.refused("register", name="eve", password=MARK, code=MARK * 2) == "closed-registration"
    ana.ok("login", name="ana", password=f"{MARK}-ana")
    every_command(ana, 1000)
    typing = connect(chat, Raw)
    for line in ("bob", f"{MARK}-bob", MARK, f"/say {MARK}", f"/msg ana {MARK}", f"/search {MARK}", f"/{MARK} {MARK}"):
        typing.send(line.encode() + b"\n")
    for round, way in enumerate(("P0001", "22000", "23514", "XX000", "gone"), 2):
        spoil(database_url, way)
        every_command(ana, 1000 * round)
        typing.send(f"{MARK}\n/search {MARK}\n/topic {MARK}\n".encode())
    garbage = connect(chat, Raw)
    garbage.send(f'{{"cmd":"login","password":"{MARK}"'.encode() + b"\xfe\n")
    garbage.eof()
    chat.stop()
    assert MARK not in chat.log
    if form == "json":
        events = [json.loads(line) for line in chat.log.splitlines()]
        assert events[0].keys() > {"time", "level", "namespace", "message"}
