"""`chatctl ban`: bans from the server or from a room."""

import os
from datetime import datetime
from ipaddress import ip_network

import click
from click import Context, Parameter

from chatserver.chatctl.access import (
    HOST,
    Access,
    Problem,
    access,
    find_account,
    find_room_access,
    no_such_room,
    no_such_user,
)
from chatserver.chatctl.output import json_option, plain, say, say_list
from chatserver.store import Connection, change_rows, directory, moderation, reach
from chatserver.store.db import database_clock
from chatserver.util.times import rfc3339
from chatserver.values.answers import BanLine
from chatserver.values.events import OPERATOR
from chatserver.wire.addresses import address, is_address
from chatserver.wire.hygiene.text import reason_text, room_name
from chatserver.wire.text.typed.words import Misused, seconds


def span_option(_ctx: Context, _param: Parameter, typed: str | None) -> int | None:
    """A length of time, as people type it in the chat."""
    try:
        return None if typed is None else seconds(typed)
    except Misused:
        raise click.BadParameter(f"{typed!r} is not a length of time such as 90s, 10m, 2h, 7d or 4w.") from None


@click.group()
def ban() -> None:
    """Ban users, addresses and networks."""


whom = click.argument("whom", metavar="NAME|ADDRESS")
in_room = click.option("--room", metavar="ROOM", help="Only from this room. Default: from the whole server.")


def _no_address(room: str | None) -> None:
    if room is not None:
        raise click.UsageError("Addresses can only be banned from the whole server. Leave out --room.")


@ban.command()
@whom
@in_room
@click.option(
    "--for", "span", callback=span_option, metavar="SPAN", help="How long: 90s, 10m, 2h, 7d, 4w. Default: forever."
)
@click.option("--reason", default="", help="Shown to the banned user.")
@click.option("--yes", is_flag=True, help="Also if that hits an operator, yourself, or a very large network.")
@json_option
@access
def add(chat: Access, whom: str, room: str | None, span: int | None, reason: str, yes: bool, as_json: bool) -> None:
    """Ban a user, an address or a network, and end their connections.

    An IPv6 address stands for its /64.
    """
    at = chat.now()
    until = chat.read(database_clock.until, span)
    reason = reason_text(reason)
    if is_address(whom):
        _no_address(room)
        called = address(whom)
        own = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        network = ip_network(called)
        hit = chat.read(reach.hit_by, network)
        if not yes and (doubts := reach.doubts(network, hit, own)):
            raise Problem(f"{doubts} Add --yes to ban it all the same.")
        chat.write(moderation.ban_from_server, None, None, called, until, reason, at)
        value: dict[str, object] = {"address": called, "hit": [one.name for one in hit if one.connected]}
    else:
        if not yes and room is None and chat.read(find_account, whom).kind == OPERATOR:
            raise Problem(f"{whom} is an operator. Add --yes to ban them all the same.")
        called = chat.write(_ban, whom, room, until, reason, at)
        value = {"name": called}
    value |= {"room": room_name(room)} if room else {}
    value |= {"until": rfc3339(until)} if until else {}
    end = f" until {rfc3339(until)}" if until else ""
    say(f"{called} is banned from {room or 'the server'}{end}.", value, as_json)


def _ban(db: Connection, name: str, room: str | None, until: datetime | None, reason: str, at: datetime) -> str:
    room_access = None if room is None else find_room_access(db, room)
    target = find_account(db, name).person
    if room_access is None:
        moderation.ban_from_server(db, None, target, None, until, reason, at)
    else:
        moderation.ban(db, HOST, room_access, target, until, reason, at)
        change_rows.grown(db, [room_access.facts.id], at)
    return target.name


@ban.command("list")
@in_room
@json_option
@access
def listing(chat: Access, room: str | None, as_json: bool) -> None:
    """List the bans in force, newest first.

    For each: who is banned, until when, by whom, and why.
    """

    def row(line: BanLine) -> tuple[object, ...]:
        return line.name or line.address, line.until or "forever", line.by or "chatctl", line.reason

    say_list(chat.read(_list, room), row, (32, 24, 16, 0), plain, as_json, ("Who", "Until", "By", "Reason"))


def _list(db: Connection, room: str | None) -> list[BanLine]:
    if room is None:
        return moderation.bans(db, None)
    found = directory.room(db, room_name(room))
    if found is None:
        raise no_such_room(room)
    return moderation.bans(db, found.id)


@ban.command()
@whom
@in_room
@json_option
@access
def remove(chat: Access, whom: str, room: str | None, as_json: bool) -> None:
    """Lift a ban."""
    if is_address(whom):
        _no_address(room)
        whom = address(whom)
    lifted = chat.write(_lift, whom, room, chat.now())
    if not lifted:
        listed = f" --room {room}" if room else ""
        raise Problem(f"{whom} is not banned from {room or 'the server'}. See: chatctl ban list{listed}")
    key = "address" if is_address(whom) else "name"
    say(f"The ban of {whom} is lifted.", {key: whom, "lifted": True}, as_json)


def _lift(db: Connection, whom: str, room: str | None, at: datetime) -> bool:
    if is_address(whom):
        return moderation.unban_from_server(db, None, whom, at)
    room_access = None if room is None else find_room_access(db, room)
    found = directory.account(db, whom)
    if found is None:
        raise no_such_user(whom)
    if room_access is None:
        return moderation.unban_from_server(db, found.person, None, at)
    entries = moderation.unban(db, HOST, room_access, found.person, at)
    change_rows.grown(db, [room_access.facts.id] if entries else [], at)
    return bool(entries)
