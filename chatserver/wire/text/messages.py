"""Typed commands about messages: sending, finding, changing and reading them."""

from chatserver.commands import CURRENT, Command, Edit, Erase, History, Look, Read, Say, Search, Unread
from chatserver.wire.hygiene import message_text, search_text
from chatserver.wire.text import words as w


def say(rest: str) -> Command:
    room, text = w.split(rest, 2, 2)
    return Say(room=w.room(room), text=message_text(text))


def me(rest: str) -> Command:
    [action] = w.split(rest, 1, 1)
    return Say(room=CURRENT, text=message_text(f"/me {action}"))


def msg(rest: str) -> Command:
    name, text = w.split(rest, 2, 2)
    return Say(room=w.direct(name), text=message_text(text))


def query(rest: str) -> Command:
    words = w.split(rest, 1, 2)
    return msg(rest) if len(words) == 2 else Look(room=w.direct(words[0]))


def edit(rest: str) -> Command:
    words = w.split(rest, 2, 2)
    # A leading `#41` is entry 41, unless the number of an entry follows: then it is a room named 41.
    follows = words[1].split(maxsplit=1)
    if not w.is_seq(words[0]) or (words[0].startswith("#") and follows[0].startswith("#") and w.is_seq(follows[0])):
        room, seq, text = w.split(rest, 3, 3)
        return Edit(room=w.room(room), seq=w.seq(seq), text=message_text(text))
    return Edit(room=CURRENT, seq=w.seq(words[0]), text=message_text(words[1]))


def erase(rest: str) -> Command:
    *room, seq = w.only(rest, 1, 2)
    return Erase(room=w.optional_room("".join(room)), seq=w.seq(seq))


def history(rest: str) -> Command:
    words = rest.split()
    before = None
    for index in range(len(words)):
        before, after = w.before(words[index:])
        if before is not None:
            words[index:] = after
            break
    room, limit = w.room_and_number(words)
    if limit == 0:
        raise w.Misused
    return History(room=room, before=before) if limit is None else History(room=room, before=before, limit=limit)


def search(rest: str) -> Command:
    words = rest.split()
    room = None
    # `@bob` alone is the text to search for; before other words it is the room to search.
    if words and (words[0].startswith("#") or (words[0].startswith("@") and len(words) > 1)):
        room, words = w.room(words[0]), words[1:]
    before, words = w.before(words)
    if not words:
        raise w.Misused
    return Search(text=search_text(" ".join(words)), room=room, before=before)


def read(rest: str) -> Command:
    room, seq = w.room_and_number(rest.split())
    return Read(room=room, seq=w.NEWEST if seq is None else seq)


def unread(rest: str) -> Command:
    words = w.only(rest, 0, 1)
    return Unread(after=w.room(words[0]) if words else "")
