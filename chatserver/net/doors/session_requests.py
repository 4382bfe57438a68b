"""`POST /session` and `DELETE /session`: a kept session becomes a cookie that no script can read, and ends."""

from http import HTTPStatus
from typing import Final

from msgspec import DecodeError, Struct, ValidationError, json

from chatserver.login.cookies import Cookies
from chatserver.net.way import is_loopback
from chatserver.values.errors import ErrorWord, Refused, Why
from chatserver.wire.framing.http import Content, Request
from chatserver.wire.framing.pages import Pages, normal_host
from chatserver.wire.sentences import english

PATH: Final = "/session"
COOKIE_SECONDS: Final = 400 * 86_400
"""How long browsers keep the cookie: as long as they keep any. The server decides when the session ends, 30 days after
it was last used."""
MAX_SECRET: Final = 256


class Shown(Struct, forbid_unknown_fields=True):
    """The body of a POST request."""

    secret: str

    def __repr__(self) -> str:
        return "Shown()"


class Answer(Struct, frozen=True):
    """`why`: for the log, if a page of another server has asked."""

    status: HTTPStatus
    content: Content
    why: str = ""


def cookie_name(*, encrypted: bool) -> str:
    """With `__Host-`, browsers take it from this host over TLS only. Without TLS there is no such protection, and it is
    used on the browser's own host only."""
    return "__Host-chat" if encrypted else "chat"


def shown_cookie(request: Request, *, encrypted: bool) -> str:
    """The secret that a browser has sent; "" if there is none."""
    return request.cookie(cookie_name(encrypted=encrypted))[:MAX_SECRET]


class SessionRequests:
    """Answers both."""

    def __init__(self, cookies: Cookies) -> None:
        self._cookies = cookies

    async def answer(self, request: Request, address: str, pages: Pages, *, encrypted: bool) -> Answer:
        """The answer to a request that is one of both. `pages`: says which pages are of this server."""
        why = pages.foreign(request.header("origin"), request.header("host"), encrypted=encrypted)
        if why or request.headers.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
            return Answer(HTTPStatus.FORBIDDEN, _told("not-allowed", "Only the server's own page may do that."), why)
        if not encrypted and not _is_this_machine(request.header("host")):
            refused = Refused(Why.TLS_REQUIRED)
            return Answer(HTTPStatus.FORBIDDEN, _told(refused.error.value, english(refused.sentence)))
        try:
            if request.method == "DELETE":
                return await self._end(shown_cookie(request, encrypted=encrypted), encrypted=encrypted)
            return await self._begin(request, address, encrypted=encrypted)
        except Refused as refused:
            wrong = refused.error is ErrorWord.BAD_CREDENTIALS
            status = HTTPStatus.FORBIDDEN if wrong else HTTPStatus.SERVICE_UNAVAILABLE
            return Answer(status, _told(refused.error.value, english(refused.sentence)))

    async def _begin(self, request: Request, address: str, *, encrypted: bool) -> Answer:
        if request.header("content-type").partition(";")[0].strip().lower() != "application/json":
            text = "Send JSON, with the content type application/json."
            return Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _told("bad-json", text))
        try:
            secret = json.decode(request.body, type=Shown).secret
        except (DecodeError, ValidationError, UnicodeDecodeError):
            secret = ""
        if not 0 < len(secret) <= MAX_SECRET:
            return Answer(HTTPStatus.BAD_REQUEST, _told("bad-json", 'Send {"secret": "..."}.'))
        given = await self._cookies.trade(address, secret)
        return Answer(HTTPStatus.NO_CONTENT, _set(given, COOKIE_SECONDS, encrypted=encrypted))

    async def _end(self, secret: str, *, encrypted: bool) -> Answer:
        if secret:
            await self._cookies.end(secret)
        return Answer(HTTPStatus.NO_CONTENT, _set("", 0, encrypted=encrypted))


def _is_this_machine(host: str) -> bool:
    name = (normal_host(host) or "").strip("[]")
    return name.endswith(".localhost") or is_loopback(name)


def _set(secret: str, seconds: int, *, encrypted: bool) -> Content:
    secure = "; Secure" if encrypted else ""
    name = cookie_name(encrypted=encrypted)
    cookie = f"Set-Cookie: {name}={secret}; HttpOnly{secure}; SameSite=Strict; Path=/; Max-Age={seconds}"
    return Content((cookie, "Cache-Control: no-store"))


def _told(error: str, text: str) -> Content:
    """A refusal, as a command would be answered with."""
    body = json.encode({"ok": False, "error": error, "text": text})
    return Content(("Content-Type: application/json", "Cache-Control: no-store"), body)
