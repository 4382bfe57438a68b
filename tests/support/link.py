"""A session's link in memory: what was written to it, and as much room as the test says."""

from collections.abc import Callable

from chatserver.session.link import takes_nothing
from chatserver.session.session import Session
from chatserver.values.errors import GOODBYE, Rejected, Sentence
from chatserver.values.events import Rewound


class MemoryLink:
    """Takes everything through `write`, unless the test sets `writable` to False or replaces `send` or `write`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.writable = True
        self.send: Callable[[bytes], int] = takes_nothing
        self.writes: list[bytes] = []
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.held = False
        self.is_exposed = False
        self.is_encrypted = False
        self.shown = ""  # the fingerprint of a certificate
        self.sent_all = False
        session.link = session.peer = self

    def write(self, data: bytes) -> None:
        self.calls.append("write")
        if data:
            self.writes.append(data)

    @property
    def written(self) -> int:
        return sum(map(len, self.writes))

    @property
    def idle(self) -> bool:
        return not self.held

    def taken(self) -> int:
        return self.written

    def showed(self) -> None:
        pass

    def hold(self) -> bool:
        if self.held:
            return False
        self.calls.append("hold")
        self.held = True
        return True

    def release(self) -> None:
        self.calls.append("release")
        self.held = False

    def refuse(self, rejected: Rejected) -> None:
        self.session.answer_refusal(rejected)

    def more(self) -> None:
        pass

    def staged(self) -> None:
        pass

    def admitted(self) -> None:
        pass

    takes_cookies = False
    brought = ""
    """A cookie."""

    def cookie(self) -> str:
        return self.brought

    def drop_cookie(self) -> None:
        self.brought = ""

    def encrypted(self) -> bool:
        return self.is_encrypted

    def exposed(self) -> bool:
        return self.is_exposed

    def certificate(self) -> str:
        return self.shown

    def has_sent_all(self) -> bool:
        return self.sent_all

    def hang_up(
        self, reason: str, sentence: Sentence = GOODBYE, retry: int | None = None, rewound: Rewound | None = None
    ) -> None:
        self.ended.append(reason)
