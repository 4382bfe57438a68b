"""Test clients over blocking sockets. Every wait has a deadline, and its error shows what arrived instead."""

import json
import re
import socket
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Message = dict[str, Any]

TIMEOUT = 10.0
NOT_ENTRIES = {"live", "read"}
"""Events that have a `seq` without being an entry of a room."""


def _trust_everybody() -> ssl.SSLContext:
    """A context that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Silence(AssertionError):
    """An expected line did not arrive in time."""


class Ended(AssertionError):
    """The connection ended while the client was still waiting for something."""


class Raw:
    """Sends and receives bytes. `timeout`, in seconds, is the deadline of every wait that does not set its own."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float = TIMEOUT,
        receive_buffer: int | None = None,
        tls: bool = False,
        source: str = "",
    ) -> None:
        self.timeout = timeout
        self.received = b""
        """Bytes received and not yet read by the test."""
        self.ended = False
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:  # before connecting; afterwards the window is too large already
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        try:
            if source:
                self.socket.bind((source, 0))
            self.socket.connect(address)
            if tls:  # a connection that ends without a TLS close_notify is an error
                self.socket = _trust_everybody().wrap_socket(self.socket, suppress_ragged_eofs=False)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of it. Raises TimeoutError if the server does not read."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def read_until(self, delimiter: bytes, timeout: float | None = None) -> bytes:
        """Everything up to and including the delimiter."""
        self.fill(lambda: delimiter in self.received, repr(delimiter), timeout)
        head, found, self.received = self.received.partition(delimiter)
        return head + found

    def read_line(self, timeout: float | None = None) -> bytes:
        """One line without its CRLF."""
        return self.read_until(b"\n", timeout).removesuffix(b"\n").removesuffix(b"\r")

    def eof(self, timeout: float | None = None) -> bytes:
        """Wait until the server closes the connection; returns what it sent before. A reset counts as an end."""
        self.fill(lambda: self.ended, "the end of the connection", timeout)
        rest, self.received = self.received, b""
        return rest

    def fill(self, enough: Callable[[], object], what: str, timeout: float | None = None) -> None:
        """Receive until `enough()` is true. `what` names, for the error message, what is expected."""
        limit = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        while not enough():
            if self.ended:
                raise Ended(f"The connection ended before {what}; unread: {self.received[-2000:]!r}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f"No {what} within {limit:g} s; unread: {self.received[-2000:]!r}")
            self._receive(left)

    def _receive(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        except ConnectionError:
            data = b""
        self.received += data
        self.ended = not data

    def half_close(self) -> None:
        """Shut down the sending side, as `nc -N` does; reading still works."""
        self.socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Close the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class JsonClient(Raw):
    """A program. Lines that do not begin with `{` (the greeting) go to `notices`; events go to `events` and `rooms`."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float = TIMEOUT,
        receive_buffer: int | None = None,
        tls: bool = False,
        source: str = "",
    ) -> None:
        super().__init__(address, timeout=timeout, receive_buffer=receive_buffer, tls=tls, source=source)
        self.notices: list[str] = []
        self.events: list[Message] = []
        """All events, in the order of arrival."""
        self.rooms: defaultdict[str, list[Message]] = defaultdict(list)
        """By room, the entries that arrived as events, in the order of arrival."""
        self.untagged: list[Message] = []
        """Answers without a tag: to lines that could not be decoded."""
        self.order: list[int | str] = []
        """The tags of all answers, in the order of arrival."""
        self._answers: dict[int | str, Message] = {}
        self._news: list[Message] = []
        self._last_tag = 0

    def post(self, word: str, /, **fields: Any) -> int:
        """Send a command without waiting; returns the tag that `answer` needs."""
        self._last_tag += 1
        self.send_object({"cmd": word, **fields, "tag": self._last_tag})
        return self._last_tag

    def send_object(self, value: object) -> None:
        self.send(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def answer(self, tag: int | str, timeout: float | None = None) -> Message:
        """Wait for the answer to one command, unless it has arrived already."""
        self._read_while(lambda: tag not in self._answers, f"answer to {tag!r}", timeout)
        return self._answers.pop(tag)

    def cmd(self, word: str, /, **fields: Any) -> Message:
        """Send a command and wait for its answer, whether it succeeds or not."""
        return self.answer(self.post(word, **fields))

    def ok(self, word: str, /, **fields: Any) -> Message:
        """Like `cmd`, for a command that must succeed."""
        answer = self.cmd(word, **fields)
        assert answer.get("ok") is True, f"{word} {fields}: {answer}"
        return answer

    def refused(self, word: str, /, **fields: Any) -> str:
        """Like `cmd`, for a command that must be refused; returns the error word."""
        answer = self.cmd(word, **fields)
        assert answer.get("ok") is False, f"{word} {fields}: {answer}"
        return str(answer["error"])

    def register(self, name: str, password: str = "s3cret-words") -> Message:
        return self.ok("register", name=name, password=password)

    def login(self, name: str, password: str = "s3cret-words", **fields: Any) -> Message:
        return self.ok("login", name=name, password=password, **fields)

    def say(self, room: str, text: str, id: str | None = None) -> Message:
        return self.ok("say", room=room, text=text, **({} if id is None else {"id": id}))

    def wait_event(self, wanted: str | Callable[[Message], object], timeout: float | None = None) -> Message:
        """Wait for the first event with this word, or that matches the predicate, and that no earlier call returned."""
        matches = (lambda event: event["event"] == wanted) if isinstance(wanted, str) else wanted
        checked = 0

        def missing() -> bool:
            nonlocal checked
            while checked < len(self._news):
                if matches(self._news[checked]):
                    return False
                checked += 1
            return True

        self._read_while(missing, f"event {wanted!r}" if isinstance(wanted, str) else "matching event", timeout)
        return self._news.pop(checked)

    def hears(self, text: str, timeout: float | None = None) -> Message:
        """Wait for a message with this text."""
        return self.wait_event(lambda event: event["event"] == "message" and event.get("text") == text, timeout)

    def wait_seq(self, room: str, seq: int, timeout: float | None = None) -> list[Message]:
        """Wait until the room's entries reach this number; returns all entries so far."""
        entries = self.rooms[room]
        self._read_while(lambda: not entries or entries[-1]["seq"] < seq, f"{room} {seq}", timeout)
        return entries

    def wait_closing(self, timeout: float | None = None) -> Message:
        """Wait for the event `closing`, then for the end of the connection; returns the event."""
        event = self.wait_event("closing", timeout)
        self._read_while(lambda: not self.ended, "the end of the connection", timeout)
        return event

    def drain(self, timeout: float | None = None) -> None:
        """Read until the server closes the connection."""
        self._read_while(lambda: not self.ended, "the end of the connection", timeout)

    def _read_while(self, missing: Callable[[], bool], what: str, timeout: float | None) -> None:
        self._sort()

        def enough() -> bool:
            self._sort()
            return not missing()

        try:
            self.fill(enough, what, timeout)
        except AssertionError as error:
            raise type(error)(f"{error}; last events: {self.events[-5:]}; notices: {self.notices[-5:]}") from None

    def _sort(self) -> None:
        *lines, self.received = self.received.split(b"\n")
        for line in lines:
            if not line.startswith(b"{"):
                self.notices.append(line.decode().removesuffix("\r"))
                continue
            message: Message = json.loads(line)
            if "event" in message:
                self.events.append(message)
                self._news.append(message)
                if "room" in message and "seq" in message and message["event"] not in NOT_ENTRIES:
                    self.rooms[message["room"]].append(message)
            elif "tag" in message:
                self.order.append(message["tag"])
                self._answers[message["tag"]] = message
            else:
                self.untagged.append(message)


class TextClient(Raw):
    """A person who uses telnet."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float = TIMEOUT,
        receive_buffer: int | None = None,
        tls: bool = False,
    ) -> None:
        super().__init__(address, timeout=timeout, receive_buffer=receive_buffer, tls=tls)
        self.seen = ""
        """Everything read so far by `expect`, `line` and `rest`, with LF line ends."""

    def type(self, line: str) -> None:
        """Send one line."""
        self.send(line.encode() + b"\n")

    def expect(self, pattern: str | re.Pattern[str], timeout: float | None = None) -> re.Match[str]:
        """Wait for a text or a compiled pattern, which may span lines; consumes all up to the end of the match."""
        expression = re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern
        found: re.Match[str] | None = None

        def enough() -> bool:
            nonlocal found
            found = expression.search(self._unread())
            return found is not None

        self.fill(enough, repr(pattern if isinstance(pattern, str) else pattern.pattern), timeout)
        assert found is not None
        text = self._unread()
        self.seen += text[: found.end()]
        self.received = text[found.end() :].encode() + self._incomplete()
        return found

    def line(self, timeout: float | None = None) -> str:
        """The next whole line."""
        line = self.read_line(timeout).decode()
        self.seen += line + "\n"
        return line

    def rest(self, timeout: float | None = None) -> str:
        """Everything up to the end of the connection."""
        text = self.eof(timeout).decode().replace("\r\n", "\n")
        self.seen += text
        return text

    def register(self, name: str, password: str = "s3cret-words") -> None:
        self.type(f"/register {name} {password}")
        self.expect(f"* Hello {name}")
        self.expect("\n")

    def login(self, name: str, password: str = "s3cret-words") -> None:
        self.type(f"/login {name} {password}")
        self.expect(f"* Hello {name}")
        self.expect("\n")

    def _whole(self) -> int:
        # The length without a trailing CR or an incomplete character: the LF or the missing bytes may still arrive.
        end = len(self.received)
        for back in range(1, min(4, end) + 1):
            byte = self.received[-back]
            if byte >= 0xC0:
                need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                return end - back if need > back else end
            if byte < 0x80:
                return end - 1 if back == 1 and byte == 0x0D else end
        return end

    def _unread(self) -> str:
        return self.received[: self._whole()].decode("utf-8", "replace").replace("\r\n", "\n")

    def _incomplete(self) -> bytes:
        return self.received[self._whole() :]
