"""Follows a room: writes each of its entries as a line of JSON, once, whatever is restarted meanwhile.

Needs nothing but Python's standard library (3.11 or newer). docs/programs.md explains it. The token is in the
environment:

    CHAT_TOKEN=ct_... python tail.py localhost 4000 general --to general.jsonl

A file is its own bookmark: after a restart it goes on behind its last line. It also has a line for each epoch; if the
server's database was set back, entries that do not exist any more are cut off.
"""

import argparse
import json
import math
import os
import random
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SILENT_SECONDS = 170
"""The server asks a silent client after 90 seconds whether it is there: who hears nothing for longer is cut off."""
FINAL = {
    "banned", "disabled", "erased", "password", "token-revoked", "token-expired", "certificate-removed", "logout"
}  # fmt: skip
"""Reasons of `closing` after which coming back is of no use."""


class Again(Exception):
    """The connection ended, or is of no use any more: connect again, after this many seconds if they are given."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def last_of(entry: dict) -> int:
    """The number behind which to go on. A gap stands for entries that were removed."""
    return entry["first"] - 1 if entry["event"] == "gap" else entry["seq"]


def cut(file: BinaryIO, most: float = math.inf) -> tuple[int | None, str | None]:
    """Cuts off a line that was not written whole, and entries with higher numbers than `most`. Returns the last number
    and the last epoch that are left."""
    last = epoch = None
    whole = 0
    file.seek(0)
    for line in file:
        if not line.endswith(b"\n"):
            break
        read = json.loads(line)
        if read["event"] == "epoch":
            epoch = read["epoch"]
        elif last_of(read) > most:
            break
        else:
            last = last_of(read)
        whole += len(line)
    file.truncate(whole)
    return last, epoch


class Follower:
    def __init__(self, options: argparse.Namespace, token: str) -> None:
        self.options = options
        self.token = token
        self.out: BinaryIO = sys.stdout.buffer
        self.last = options.after
        self.epoch: str | None = None
        if options.to is not None:
            self.out = options.to.open("ab+")
            found, self.epoch = cut(self.out)
            self.last = self.last if found is None else found
        self.wait = options.least_wait

    def follow(self) -> None:
        """Writes entries until the connection ends. Raises Again."""
        room = self.options.room
        with connected(self.options) as link:
            place = {"resume": {room: self.last}, "epoch": self.epoch}
            self.send(link, {"cmd": "login", "token": self.token, **place, "tag": 1})
            with link.makefile("rb") as lines:
                for received in objects(lines):
                    if "ok" in received:
                        self.answered(received, link)
                    elif received["event"] == "epoch":
                        self.enter(received["epoch"])
                    elif received["event"] == "ping":
                        self.send(link, {"cmd": "ping"})
                    elif received["event"] == "closing":
                        if received["reason"] in FINAL:
                            raise SystemExit(received["text"])
                        raise Again(received["text"], received.get("retry"))
                    elif received.get("room") == room and ("at" in received or received["event"] == "gap"):
                        self.write(received)
        raise Again("The connection ended.")

    def answered(self, answer: dict, link: socket.socket) -> None:
        if not answer["ok"]:
            if "retry" not in answer:
                raise SystemExit(answer["text"])
            raise Again(answer["text"], None if answer["retry"] is True else answer["retry"])
        if answer.get("tag") == 2:
            self.drop_behind(answer.get("common"))
        if answer.get("tag") != 1:
            return
        self.wait = self.options.least_wait  # it works
        if self.options.room in {room["room"] for room in answer["rooms"]}:
            self.drop_behind(answer.get("common", {}).get(self.options.room))
        else:
            place = {"since": self.last, "epoch": self.epoch}
            self.send(link, {"cmd": "join", "room": self.options.room, **place, "tag": 2})
        self.enter(answer["epoch"])

    def drop_behind(self, common: int | None) -> None:
        """The server's database was set back, and has other entries behind this number, if it is one."""
        if common is None:
            return
        print(f"The entries {common + 1} to {self.last} do not exist any more.", file=sys.stderr)
        if self.options.to is not None:
            cut(self.out, common)
        self.last = common

    def enter(self, epoch: str) -> None:
        """The server's log is of this epoch from here on."""
        if self.options.to is not None and epoch != self.epoch:
            self.put({"event": "epoch", "epoch": epoch})
        self.epoch = epoch

    def write(self, entry: dict) -> None:
        self.put(entry)
        self.last = last_of(entry)

    def put(self, event: dict) -> None:
        # One write for each line: readers of the file see whole lines.
        self.out.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self.out.flush()

    @staticmethod
    def send(link: socket.socket, command: dict) -> None:
        link.sendall(json.dumps(command).encode() + b"\n")


def connected(options: argparse.Namespace) -> socket.socket:
    link = socket.create_connection((options.host, options.port), SILENT_SECONDS)
    return ssl.create_default_context().wrap_socket(link, server_hostname=options.host) if options.tls else link


def objects(lines: BinaryIO) -> Iterator[dict]:
    """The lines of the server. The greeting, and the refusal of a connection, are lines of text."""
    for line in lines:
        if line.startswith(b"{") and line.endswith(b"\n"):
            yield json.loads(line)
        elif line.startswith(b"! "):
            raise Again(line.decode().strip())


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a room.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("room")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write there instead, and go on behind its last line")
    parser.add_argument("--after", type=int, default=0, metavar="NUMBER", help="begin behind this entry")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--least-wait", type=float, default=1, metavar="SECONDS", help="before connecting again")
    parser.add_argument("--most-wait", type=float, default=60, metavar="SECONDS")
    options = parser.parse_args()
    follower = Follower(options, os.environ["CHAT_TOKEN"])
    while True:
        try:
            follower.follow()
        except (OSError, ValueError, Again) as error:  # ValueError: a line is no JSON
            seconds = error.seconds if isinstance(error, Again) else None
            # Without jitter all clients of a server that was restarted would come at the same moment.
            pause = follower.wait * random.uniform(0.5, 1) if seconds is None else seconds * random.uniform(1, 1.5)
            follower.wait = min(follower.wait * 2, options.most_wait)
            print(f"{error} Connecting again in {pause:.1f} s.", file=sys.stderr)
            time.sleep(pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
