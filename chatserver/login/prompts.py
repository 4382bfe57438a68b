"""Questions for a person who logs in step by step. The last line on the screen always says what to type."""

from typing import Final

from chatserver.login.cleartext import Cleartext
from chatserver.login.hashing import check_length
from chatserver.session.session import Session
from chatserver.settings.tables import Settings
from chatserver.values import commands as c
from chatserver.values.errors import Note, Refused, Rejected, Sentence, Why
from chatserver.values.stages import Event, Stage

DIFFERENT: Final = Refused(Why.PASSWORDS_DIFFER)


class Prompts:
    """Leads people from one question to the next. `Handshake` does what needs the store."""

    def __init__(self, settings: Settings, cleartext: Cleartext) -> None:
        self._server = settings.server
        self._passwords = settings.passwords
        self._cleartext = cleartext

    def ask(self, session: Session) -> None:
        """Sends the next question. A script that has sent everything gets none: its last line is to be the result."""
        if session.view is not None and not session.peer.has_sent_all() and not self._cleartext.forbids(session):
            words = self._question(session)
            if words:
                session.notice(words)

    def _question(self, session: Session) -> Sentence | None:
        match session.stage:
            case Stage.GREETING:
                return Sentence(Note.ASK_NAME)
            case Stage.PASSWORD:
                return Sentence(Note.ASK_PASSWORD, name=session.typed_name)
            case Stage.CONFIRM:
                return Sentence(Note.ASK_TO_REGISTER, name=session.typed_name)
            case Stage.NEW_PASSWORD:
                return Sentence(Note.ASK_NEW_PASSWORD, least=self._passwords.min_length)
            case Stage.AGAIN:
                return Sentence(Note.ASK_AGAIN)
        return None

    def refuse(self, session: Session, rejected: Rejected) -> None:
        session.link.refuse(rejected)
        self.ask(session)

    def step(self, session: Session, event: Event) -> None:
        """Goes to another question, and asks it."""
        self.move(session, event)
        self.ask(session)

    def move(self, session: Session, event: Event) -> None:
        """Goes to another stage. A chosen password is kept only until it is to be typed again."""
        session.move(event)
        if session.view is not None and event not in (Event.CHOSEN, Event.CHECKING, Event.REPEATED):
            session.view.chosen = ""

    def named(self, session: Session, name: str, *, known: bool) -> None:
        """Goes on with a name that was looked up. `known`: `name` is the account's own spelling."""
        session.typed_name = name
        if known:
            session.move(Event.NAMED)
            session.notice(Sentence(Note.HELLO_ASK_PASSWORD, name=name))
        else:
            self.step(session, Event.UNKNOWN)

    def password(self, session: Session, password: str) -> tuple[c.Login | c.Register, Event] | None:
        """Handles a typed password; "" goes back to the name. Returns the command to log in with, and the event if that
        fails; None if there is another question first."""
        name, view = session.typed_name, session.view
        assert view is not None, "Only people type."
        if not password:
            self.step(session, Event.CANCELLED)
        elif session.stage is Stage.PASSWORD:
            return c.Login(name=name, password=password), Event.RETRIED
        elif session.stage is Stage.NEW_PASSWORD:
            self._choose(session, password)
        elif password == view.chosen:
            return c.Register(name=name, password=password), Event.REPEATED
        else:
            self.move(session, Event.DIFFERED)
            self.refuse(session, Rejected(DIFFERENT))
        return None

    def _choose(self, session: Session, password: str) -> None:
        try:
            check_length(self._passwords, password)
        except Refused as refused:
            self.refuse(session, Rejected(refused))
            return
        if session.view is not None:
            session.view.chosen = password
        self.step(session, Event.CHOSEN)

    # Contact

    def remedy(self, session: Session) -> Sentence | None:
        """The end of a text about a wrong password: whom to ask, if the settings say so. Only for people: programs may
        pass texts on to anybody."""
        if session.view is None or not self._server.contact:
            return None
        return Sentence(Note.FORGOTTEN, contact=self._server.contact)

    def wrong(self, session: Session, refused: Refused) -> Refused:
        """The refusal of a wrong password, with the contact."""
        remedy = self.remedy(session)
        return refused.then(remedy) if remedy else refused
