"""Stands in for Valkey where there is none: publish and subscribe in a process of its own, and nothing else. Tests that
are about Valkey itself need the real one, and say so."""

import selectors
import socket
import sys
from collections import Counter

options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
PASSWORD = options.get("--requirepass", "").encode()


class Peer:
    def __init__(self, socket: socket.socket) -> None:
        self.socket = socket
        self.data = b""
        self.channels: dict[bytes, None] = {}
        self.known = not PASSWORD


peers: dict[socket.socket, Peer] = {}
calls: Counter[bytes] = Counter()


def bulk(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def answer(peer: Peer, words: list[bytes]) -> bytes:
    name, arguments = words[0].upper(), words[1:]
    calls[name.lower()] += 1
    if name == b"AUTH":
        peer.known = arguments[-1] == PASSWORD
        return b"+OK\r\n" if peer.known else b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    if not peer.known:
        return b"-NOAUTH Authentication required.\r\n"
    if name in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
        said = b""
        for channel in arguments:
            if name == b"SUBSCRIBE":
                peer.channels[channel] = None
            else:
                peer.channels.pop(channel, None)
            said += bulk(name.lower(), channel).replace(b"*2", b"*3", 1) + b":%d\r\n" % len(peer.channels)
        return said
    if name == b"PUBLISH":
        heard = [one for one in peers.values() if arguments[0] in one.channels]
        for one in heard:
            one.socket.sendall(bulk(b"message", *arguments))
        return b":%d\r\n" % len(heard)
    if name == b"PUBSUB":
        return bulk(*{channel for one in peers.values() for channel in one.channels})
    if name == b"INFO":
        text = b"".join(b"cmdstat_%s:calls=%d,usec=1\r\n" % one for one in calls.items())
        return b"$%d\r\n%s\r\n" % (len(text), text)
    return b"+PONG\r\n" if name == b"PING" else b"-ERR unknown command\r\n"


def commands(peer: Peer) -> list[list[bytes]]:
    """The commands that have come whole: arrays of texts, or one line of words."""
    found: list[list[bytes]] = []
    while b"\r\n" in peer.data:
        line, rest = peer.data.split(b"\r\n", 1)
        words = line.split(b" ")
        if line.startswith(b"*"):
            words = []
            for _ in range(int(line[1:])):
                length, end, rest = rest.partition(b"\r\n")
                size = int(length[1:] or 0) if end else 0
                if not end or len(rest) < size + 2:
                    return found
                words.append(rest[:size])
                rest = rest[size + 2 :]
        found.append(words)
        peer.data = rest
    return found


def main() -> None:
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", int(options["--port"])), backlog=128)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                peers[accepted] = Peer(accepted)
                selector.register(accepted, selectors.EVENT_READ)
                continue
            peer = peers[key.fileobj]  # type: ignore[index]
            try:
                data = peer.socket.recv(65_536)
                peer.data += data
                for words in commands(peer):
                    peer.socket.sendall(answer(peer, words))
            except OSError:
                data = b""
            if not data:
                selector.unregister(peer.socket)
                del peers[peer.socket]
                peer.socket.close()


if __name__ == "__main__":
    main()
