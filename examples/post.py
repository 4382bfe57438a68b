"""Posts a message to a room, once, and tries until it is stored. For cron, deployments and alerts.

Needs nothing but Python's standard library (3.11 or newer). docs/programs.md explains it. The token is in the
environment:

    CHAT_TOKEN=ct_... python post.py localhost 4000 general "Release 1.4 is out."
    make 2>&1 | tail -n 20 | CHAT_TOKEN=ct_... python post.py localhost 4000 general
"""

import argparse
import json
import os
import random
import socket
import ssl
import sys
import time
import uuid


def post(options: argparse.Namespace, token: str, text: str) -> dict:
    """One attempt: the answer to `say`, or to the login if that fails. Raises OSError."""
    with connected(options) as link:
        commands = (
            {"cmd": "login", "token": token, "quiet": True, "tag": 1},
            {"cmd": "say", "room": options.room, "text": text, "id": options.id, "tag": 2},
            {"cmd": "quit"},
        )
        link.sendall(b"".join(json.dumps(command).encode() + b"\n" for command in commands))
        with link.makefile("rb") as lines:
            for line in lines:
                if not line.startswith(b"{"):  # the greeting
                    continue
                answer = json.loads(line)
                if answer.get("tag") == 2 or answer.get("ok") is False:
                    return answer
    raise ConnectionError("The connection ended before the answer.")


def connected(options: argparse.Namespace) -> socket.socket:
    link = socket.create_connection((options.host, options.port), 30)
    return ssl.create_default_context().wrap_socket(link, server_hostname=options.host) if options.tls else link


def main() -> int:
    parser = argparse.ArgumentParser(description="Post a message.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("room")
    parser.add_argument("text", nargs="?", help="default: the standard input")
    parser.add_argument(
        "--id", default=uuid.uuid4().hex, help="whatever is posted once only, such as: backup-2026-03-02"
    )
    parser.add_argument("--seconds", type=float, default=600, help="how long to try")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    text = sys.stdin.read().rstrip() if options.text is None else options.text
    end = time.monotonic() + options.seconds
    wait = 1.0
    while True:
        try:
            answer = post(options, os.environ["CHAT_TOKEN"], text)
        except (OSError, ValueError) as error:
            answer = {"ok": False, "text": f"{error}", "retry": True}
        if answer["ok"]:
            print(f"Stored as {answer['room']} #{answer['seq']}.")
            return 0
        pause = random.uniform(0.5, 1) * (wait if answer.get("retry") is True else 2 * answer.get("retry", 0))
        if "retry" not in answer or time.monotonic() + pause > end:
            print(answer["text"], file=sys.stderr)
            return 1
        time.sleep(pause)
        wait = min(2 * wait, 60)


if __name__ == "__main__":
    sys.exit(main())
