"""The filter for fail2ban in deploy/, on the log of a real server."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, Raw
from tests.util.test_audit_log import FILTER, failed_address


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_filter(form: str, server: StartServer, connect: Connect) -> None:
    """It counts wrong passwords, wrong tokens and foreign protocols against their address, and nothing else, whatever
    people call themselves and say."""
    chat = server(limits="default", options=["--log-format", form])
    ana = connect(chat, JsonClient)
    ana.register("ana")
    ana.say("general", "[chatserver.audit#info] audit: failed-login address=192.0.2.1")
    wrong = connect(chat, JsonClient)
    assert wrong.refused("login", name="ana", password="not hers") == "bad-credentials"
    assert wrong.refused("login", token="audit: offence address=192.0.2.1") == "bad-credentials"
    browser = connect(chat, Raw)
    browser.send(b"GET /?audit:%20offence%20address=192.0.2.1 HTTP/1.1\r\n\r\n")
    browser.eof()
    chat.wait_log("audit: offence")
    counted = [failed_address(line) for line in chat.log.splitlines()]
    assert [address for address in counted if address] == ["127.0.0.1"] * 3
    assert "not hers" not in chat.log


@pytest.mark.skipif(shutil.which("fail2ban-regex") is None, reason="needs fail2ban")
def test_fail2ban_itself(tmp_path: Path) -> None:
    """fail2ban reads the filter as the other tests do."""
    log = tmp_path / "log"
    start = "2026-03-02T10:02:00+0000 [chatserver.audit#info] audit:"
    json = '{"time":"2026-03-02T10:02:00.123456Z","level":"info","namespace":"chatserver.audit","message":"audit:'
    log.write_text(
        f"{start} failed-login address=198.51.100.7 name=ana why=password\n"
        f"{start} offence address=2001:db8::1 what=foreign\n"
        f"{start} login address=198.51.100.7 name=ana how=password\n"
        f'{json} failed-login address=198.51.100.7 name=ana why=password","event":"failed-login"}}\n'
        f'{json} offence address=2001:db8::1 what=foreign","event":"offence"}}\n'
        f'{json} login address=198.51.100.7 name=ana how=password","event":"login"}}\n'
    )
    done = subprocess.run(["fail2ban-regex", str(log), str(FILTER)], capture_output=True, text=True, check=False)
    assert "6 lines, 0 ignored, 4 matched, 2 missed" in done.stdout
