"""Typed commands about your account: logging in, changing it, logging out."""

import re
from typing import Any

from chatserver.values.commands import (
    Command,
    Export,
    Forget,
    Guest,
    Help,
    Login,
    Logout,
    Password,
    Ping,
    Quit,
    Register,
    Server,
    Sessions,
    Token,
)
from chatserver.values.errors import Refused, Why
from chatserver.wire.hygiene.text import label_text, password, secret, user_name
from chatserver.wire.text.shown import help as pages
from chatserver.wire.text.typed import words as w

SECRET_LENGTH = 24
"""Minimum length, in characters, of a word that is taken for a token by its beginning."""

_OPTION = re.compile(r"(?:^|\s+)(?:for=(?P<span>\S+)|room=(?P<room>\S+)|read-only)$", re.IGNORECASE)
"""One of the options at the end of `/token LABEL`."""

# Before login. A refusal quotes nothing that was typed, since it might be a password.


def login(rest: str) -> Login:
    name, words = w.split(rest, 2, 2)
    words, quiet = w.flagged(words, "quiet")
    return Login(name=user_name(name), password=password(words), quiet=quiet)


def token_login(rest: str) -> Login:
    [token] = w.only(rest, 1, 1)
    return Login(token=secret(token, "token"))


def register(rest: str) -> Register:
    name, words = w.split(rest, 2, 2)
    # `code=` marks the code, because a password may contain blanks.
    first, *last = words.rsplit(maxsplit=1)
    if last and last[0].startswith("code="):
        return Register(name=user_name(name), password=password(first), code=secret(last[0][len("code=") :], "code"))
    return Register(name=user_name(name), password=password(words))


def guest(rest: str) -> Guest:
    return Guest()


def quit(rest: str) -> Quit:
    return Quit()  # IRC users add a parting message


def help_first(rest: str) -> Help:
    try:
        return Help(about=help(rest).about or pages.FIRST)
    except (w.Misused, Refused):
        return Help(about=pages.FIRST)


# After login


def too_late(rest: str) -> Command:
    raise Refused(Why.ALREADY_LOGGED_IN_TYPED)


def help(rest: str) -> Help:
    words = w.only(rest, 0, 1)
    if not words or words[0].lower() == pages.ALL:
        return Help(about=pages.ALL if words else "")
    return Help(about=pages.canonical(words[0].removeprefix("/")))


def change_password(rest: str) -> Command:
    old, new = w.split(rest, 2, 2)
    new, others = w.flagged(new, "others")
    return Password(old=password(old), new=password(new), others=others)


def token(rest: str) -> Command:
    words = w.split(rest, 1, 2)
    if words[0].lower() == "revoke":
        [_, label] = w.split(rest, 2, 2)
        return Token(revoke=label_text(label))
    if words[0].lower() == "list" and len(words) == 1:
        return Token(list=True)
    if words[0].startswith("ct_") and len(words[0]) >= SECRET_LENGTH:
        too_late(rest)
    fields: dict[str, Any] = {}
    label = rest.strip()
    while option := _OPTION.search(label):
        label = label[: option.start()]
        if option["span"] is not None:
            fields["seconds"] = w.seconds(option["span"])
        elif option["room"] is not None:
            fields["room"] = w.room(option["room"])
        else:
            fields["read_only"] = True
    return Token(label=label_text(label), **fields)


def sessions(rest: str) -> Command:
    words = [word.lower() for word in w.only(rest, 0, 2)]
    if not words:
        return Sessions()
    if words == ["end", "others"]:
        return Sessions(end="others")
    if words[0] != "end" or len(words) < 2:
        raise w.Misused
    return Sessions(end=max(w.number(words[1]), 1))


def forget(rest: str) -> Command:
    [typed] = w.split(rest, 1, 1)
    typed, erase = w.flagged(typed, "erase")
    return Forget(password=password(typed), messages="erase" if erase else "keep")


def export(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Export(after=secret("".join(words), "after"))


def ping(rest: str) -> Command:
    return Ping()


def server(rest: str) -> Server:
    w.only(rest, 0, 0)
    return Server()


def logout(rest: str) -> Command:
    return Logout()
