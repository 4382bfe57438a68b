"""`server.plaintext_login = false` over real sockets; those from elsewhere come through a proxy on this host."""

from pathlib import Path

from tests.conftest import StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, TextClient
from tests.support.elsewhere import connected_from
from tests.support.process import LOOPBACK
from tests.support.proxy import v2

CONFIG = QUICK + '[server]\nplaintext_login = false\ntrusted_proxies = ["127.0.0.2"]\n'
AWAY = v2("192.0.2.7")
AWAY_WITH_TLS = v2("192.0.2.7", tlvs=b"\x20\x00\x05\x01" + bytes(4))


def test_passwords_without_tls(server: StartServer, tmp_path: Path) -> None:
    """Passwords are taken over TLS, from this host, and through a proxy that speaks TLS with the client. All others
    are told before they type one."""
    key, certificate = write_certificate(tmp_path)
    secure_port = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    chat = server(config=CONFIG, listen=[LOOPBACK, secure_port])
    plain, tls = chat.addresses
    with JsonClient(plain) as here, JsonClient(tls, tls=True) as secure:
        here.register("ana")
        secure.register("bob")
    with connected_from(JsonClient, tls, "127.0.0.2", first=AWAY, tls=True) as secure:
        secure.register("cai")
    with connected_from(JsonClient, plain, "127.0.0.2", first=AWAY_WITH_TLS) as proxied:
        proxied.register("dan")
    with connected_from(JsonClient, plain, "127.0.0.2", first=AWAY) as exposed:
        assert exposed.refused("login", name="ana", password="s3cret-words") == "tls-required"
        assert exposed.refused("register", name="eve", password="s3cret-words") == "tls-required"
    with connected_from(TextClient, plain, "127.0.0.2", first=AWAY) as person:
        assert person.line().startswith("* Welcome")
        assert person.line().startswith("* Passwords need TLS here")
        person.type("ana")
        assert person.line().startswith("! Passwords need TLS here")
