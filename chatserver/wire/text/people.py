"""Typed commands about people: who is online, and whom you hear from."""

from chatserver.commands import Away, Block, Command, Unblock, Who
from chatserver.wire.hygiene import away_text
from chatserver.wire.text import words as w


def who(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Who(name=w.name(words[0]) if words else None)


def away(rest: str) -> Command:
    return Away(text=away_text(rest))


def back(rest: str) -> Command:
    w.nothing(rest)
    return Away()


def block(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Block(name=w.name(name))


def unblock(rest: str) -> Command:
    [name] = w.only(rest, 1, 1)
    return Unblock(name=w.name(name))
