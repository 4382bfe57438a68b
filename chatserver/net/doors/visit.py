"""HTTP requests at a door, before one of them becomes a WebSocket: files are answered here.

A visit is no connection of the chat: nothing of it is in the log, and it is cheap. Once a request asks for a WebSocket,
the door takes over, and that is when a client has come.
"""

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chatserver.net.doors.factory import Arrival, ChatFactory
from chatserver.net.doors.files import Page
from chatserver.net.doors.session_requests import PATH, Answer, shown_cookie
from chatserver.net.limits.crowd import Rank
from chatserver.net.way import secured, waiting
from chatserver.wire.framing.http import (
    Content,
    Fault,
    Request,
    Requests,
    forwarded,
    page,
    response,
)
from chatserver.wire.framing.pages import normal_host, normal_origin
from chatserver.wire.sentences import english

IDLE_SECONDS: Final = 10.0
"""How long a client may take to send a whole request, and how long a connection is kept for the next one."""
MOST_REQUESTS: Final = 100
"""Maximum number of requests on one connection."""
FAREWELL_SECONDS: Final = 2.0
"""How long a client may take to read the last response."""
FILES_ARRIVAL: Final = 0.02
"""How much of an arrival a connection counts that only fetches files: a browser opens six for a page, and a proxy may
open one for each of its fifty files."""
SOCKET_PATHS: Final = frozenset({"/", "/chat"})
WORDS: Final = {
    HTTPStatus.BAD_REQUEST: "Your client did not send a valid request.",
    HTTPStatus.FORBIDDEN: "This server does not know the name by which you came. Its log says more, to its operator.",
    HTTPStatus.NOT_FOUND: "There is no page here.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page can only be read.",
    HTTPStatus.LENGTH_REQUIRED: "The request does not say how long its body is.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request is too large.",
}


@implementer(IHalfCloseableProtocol, IPushProducer)
class Visit(Arrival):
    """`pages`: what there is to read, by path; None: the door itself refuses what asks for no WebSocket. `counted`: how
    much of the client's arrival was counted before."""

    def __init__(
        self,
        factory: ChatFactory,
        address: str,
        encrypted: bool | None,
        pages: Mapping[str, Page] | None,
        counted: float = 0.0,
    ) -> None:
        super().__init__(factory, address, IDLE_SECONDS, encrypted)
        self._pages = pages
        self._requests = Requests()
        self._forwarder = address if address in factory.forwarders else ""
        self._served = 0
        self._counted = counted
        self._least = 1.0  # how much of an arrival the connection counts when it ends
        self._blocked = False  # the client does not read as fast as it asks
        self._busy = False  # a request is being worked on
        self._ended = False
        self._left = 0  # bytes that waited for the client when its time was over last

    @property
    def rank(self) -> Rank:  # type: ignore[override]
        if self._busy:
            return Rank.CHECKED
        return Rank.STARTED if len(self._requests) or self._blocked else Rank.SILENT

    # Twisted's hooks

    def connectionMade(self) -> None:
        super().connectionMade()
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        self._requests.feed(data)
        self._serve()

    def readConnectionLost(self) -> None:
        if self._ended:
            self.transport.loseConnection()
        else:  # everything is answered: nothing is read while a request is worked on
            self._end()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        self._count(self._least)
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        self._blocked = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._blocked = False
        if not self._ended and not self._busy:
            self.transport.resumeProducing()
            self._wait(IDLE_SECONDS)
            self._serve()

    def stopProducing(self) -> None:
        self._blocked = True

    # Requests

    def _serve(self) -> None:
        """Answers requests in order, for as long as the client reads."""
        while not (self._ended or self._blocked or self._busy):
            try:
                request = self._requests.next()
            except Fault as fault:
                self._refuse(fault.status)
                return
            if request is None:
                return
            self._served += 1
            self._wait(IDLE_SECONDS)
            self._take(request)

    def _take(self, request: Request) -> None:
        """Finds out whose request it is, and whether and when that client may come."""
        if self._forwarder:
            address, encrypted = forwarded(request, self._forwarder)
            self._encrypted = encrypted
            if address != self._address:
                self._is_of(address)
                refusal = self._factory.admission.refusal(address)
                seconds = self._factory.admission.delay(address)
                if refusal is not None:
                    self._turn_away(english(refusal))
                    return
                if seconds:
                    self._work()
                    self._factory.clock.callLater(seconds, self._take_late, request)
                    return
        self._admit(request)

    def _admit(self, request: Request) -> None:
        banned = self._factory.admission.ban(self._address)
        if banned is not None:
            self._turn_away(english(banned))
        else:
            self._answer(request)

    def _take_late(self, request: Request) -> None:
        if not self._ended:
            self._worked()
            self._admit(request)
            self._serve()

    def _is_of(self, address: str) -> None:
        """A request of another client than the one before has come through a proxy."""
        admission = self._factory.admission
        admission.closed(self._address, self, pending=True)
        self._address = address
        self._counted, self._least = 0.0, 1.0
        admission.arrived(address, self)

    def _answer(self, request: Request) -> None:
        policy = self._factory.policy
        cookie = shown_cookie(request, encrypted=self._is_encrypted)
        if self._pages is None or (request.upgrades and request.method == "GET" and request.path in SOCKET_PATHS):
            self._upgrade(request, cookie)
        elif (cookie or "origin" in request.headers) and (why := policy.unknown(request.header("host"))):
            self._forbid(why)
        elif request.path == PATH and request.method in ("POST", "DELETE"):
            self._count(1.0)
            self._work()
            work = self._factory.sessions.answer(request, self._address, policy, encrypted=self._is_encrypted)
            ensureDeferred(work).addCallback(self._answered, request).addErrback(self._failed)
        elif request.method not in ("GET", "HEAD"):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD")
        elif request.path in self._pages:
            self._least = FILES_ARRIVAL
            self._count(self._least)
            last = self._is_last(request)
            answer = self._pages[request.path].answer(request, last=last, strict=self._is_strict(request))
            self._write(answer, last=last)
        else:
            content = page(HTTPStatus.NOT_FOUND, WORDS[HTTPStatus.NOT_FOUND])
            last, bare = self._is_last(request), request.method == "HEAD"
            self._write(response(HTTPStatus.NOT_FOUND, content, bare=bare, last=last), last=last)

    @property
    def _is_encrypted(self) -> bool:
        return bool(self._encrypted) or secured(self.transport)

    def _is_strict(self, request: Request) -> bool:
        """Whether browsers are to use TLS only for this host from now on: at all of its ports, so that a server at
        another port than that of https is not the one to say so. Nor is a server behind a proxy."""
        host = request.header("host")
        has_default_port = normal_origin(f"https://{host}") == f"https://{normal_host(host)}"
        return secured(self.transport) and not self._forwarder and has_default_port

    def _work(self) -> None:
        """Takes nothing more until the request is answered."""
        self._busy = True
        self._call.cancel()
        self.transport.pauseProducing()

    def _worked(self) -> None:
        self._busy = False
        self._wait(IDLE_SECONDS)
        if not self._blocked:
            self.transport.resumeProducing()

    def _answered(self, answer: Answer, request: Request) -> None:
        if answer.why:
            self._factory.page_refused(self._address, answer.why)
        if self._ended:
            return
        self._worked()
        last = answer.status is not HTTPStatus.NO_CONTENT or self._is_last(request)
        self._write(response(answer.status, answer.content, last=last), last=last)
        self._serve()

    def _failed(self, failure: Failure) -> None:
        self._factory.log.failure("A request about a session failed.", failure)
        self.abort()

    def _is_last(self, request: Request) -> bool:
        return not request.lasting or self._served >= MOST_REQUESTS or self._factory.closing

    def _upgrade(self, request: Request, cookie: str) -> None:
        """Lets the door take over. Cookies know no ports: with one, the page has to be of exactly this origin."""
        if cookie:
            origin, host = request.header("origin"), request.header("host")
            why = self._factory.policy.foreign(origin, host, encrypted=self._is_encrypted)
            if why:
                self._forbid(why)
                return
        self._leave()
        self._ended = True
        self._count(1.0)
        self.transport.unregisterProducer()
        door = None if self._factory.closing else self._factory.open_door(self._address, self._encrypted, counted=True)
        if door is not None and self._pages is not None:
            door.connection.brought(cookie)
        self._hand_over(door, request.head + request.body + self._requests.rest())

    def _turn_away(self, why: str) -> None:
        self._least = 0.0  # as for those who are refused before they have sent anything
        status = HTTPStatus.SERVICE_UNAVAILABLE
        self._write(response(status, page(status, escape(why)), last=True), last=True)

    def _forbid(self, why: str) -> None:
        """Refuses a page, and says in the log why."""
        self._factory.page_refused(self._address, why)
        self._refuse(HTTPStatus.FORBIDDEN)

    def _refuse(self, status: HTTPStatus, *headers: str) -> None:
        content = page(status, WORDS[status])
        content = Content((*content.headers, *headers), content.body)
        self._write(response(status, content, last=True), last=True)

    def _write(self, data: bytes, *, last: bool) -> None:
        self.transport.write(data)
        if last:
            self._end()

    def _count(self, much: float) -> None:
        """Counts the arrival of the client, up to this much of one in all."""
        if much > self._counted:
            self._factory.admission.came(self._address, much - self._counted)
            self._counted = much

    # The end

    def _wait(self, seconds: float) -> None:
        if self._call.active():
            self._call.cancel()
        self._call = self._factory.clock.callLater(seconds, self.over)

    def over(self) -> None:
        """Ends a connection that is idle, or too slow. One that is being sent a file may take its time, as long as it
        reads."""
        left = waiting(self.transport)
        if left and left != self._left:
            self._left = left
            self._wait(IDLE_SECONDS)
        elif self._ended or left:
            self.abort()
        else:
            self._end()

    def _end(self) -> None:
        """Sends what is written, and closes. The client may still be sending: closing at once would make the kernel
        answer with a reset, which destroys the last response on its way (RFC 1122, 4.2.2.13)."""
        if self._ended:
            return
        self._ended = True
        self._requests.rest()
        self._count(self._least)
        self._wait(FAREWELL_SECONDS)
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        if secured(transport) or not hasattr(transport, "loseWriteConnection"):
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    def make_way(self) -> bool:
        self._end()
        return True
