"""The programs in examples/, which docs/programs.md explains, do what they promise."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.process import ChatServer, clean_environment, die_with_parent, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = Path(__file__).parents[2] / "docs" / "programs.md"
MANY = 50
"""Number of messages that are said at a time."""
QUICKLY = ("--least-wait", "0.05", "--most-wait", "0.3")


class Program:
    """A program of examples/ that runs until it is killed."""

    def __init__(self, chat: ChatServer, token: str, *words: str) -> None:
        name, *more = words
        host, port = chat.address
        self._command = [sys.executable, str(EXAMPLES / name), host, str(port), *more, *QUICKLY]
        self._env = clean_environment({"CHAT_TOKEN": token})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._env, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL)
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    running: list[Program] = []
    yield running
    for one in running:
        one.kill()


def token_of(client: JsonClient, label: str, **restrictions: Any) -> str:
    made: str = client.ok("token", label=label, password="s3cret-words", **restrictions)["token"]
    return made


def messages(client: JsonClient, room: str) -> list[tuple[str, str]]:
    """The authors and texts of the messages, in order."""
    found: list[dict[str, Any]] = []
    while (page := client.ok("history", room=room, after=found[-1]["seq"] if found else 0, limit=500))["entries"]:
        found += page["entries"]
    return [(one["from"], one["text"]) for one in found if one["event"] == "message"]


def say_all(chat: ChatServer, connect: Connect, echo: Program, texts: list[str], cut: Callable[[], None]) -> None:
    """Has ana say these texts while the bot stands still. `cut` is called when it has just begun to echo them."""
    ana = connect(chat, JsonClient)
    ana.login("ana")
    echo.signal(signal.SIGSTOP)
    for tag in [ana.post("say", room="general", text=text, id=text) for text in texts]:
        assert ana.answer(tag)["ok"]
    echo.signal(signal.SIGCONT)
    ana.wait_event(lambda event: event.get("from") == "echo" and event.get("text") in texts)
    cut()


@pytest.mark.slow
def test_echo(server: StartServer, connect: Connect, programs: list[Program], tmp_path: Path) -> None:
    """The echo bot repeats each message once and in order, also those from before it was away, in a direct room too,
    while server and bot are killed and stopped under load."""
    chat = server(config=QUICK)
    ana, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bot.register("echo")
    echo = Program(chat, token_of(bot, "echo"), "echo.py", "--state", str(tmp_path / "echo.json"))
    programs.append(echo)
    echo.start()
    ana.wait_event(lambda event: event.get("name") == "echo")
    wait_until((tmp_path / "echo.json").exists, what="the bot has logged in")
    said: list[str] = []

    def killed() -> None:
        chat.kill()
        chat.start()

    def stopped() -> None:
        chat.stop()
        chat.start()

    def away() -> None:
        echo.kill()
        client = connect(chat, JsonClient)
        client.login("ana")
        client.ok("say", room="@echo", text="psst", id="psst")

    for number, cut in enumerate((echo.restart, killed, echo.restart, away, stopped)):
        texts = [f"{number}-{count}" for count in range(MANY)]
        say_all(chat, connect, echo, texts, cut)
        said += texts
        if cut == away:
            echo.start()
    ana = connect(chat, JsonClient)
    ana.login("ana")
    wait_until(lambda: len(messages(ana, "general")) >= 2 * len(said), 30, "everything is echoed")
    wait_until(lambda: len(messages(ana, "@echo")) == 2, 30, "the direct message is echoed")
    ana.ok("say", room="general", text="the end")
    wait_until(lambda: messages(ana, "general")[-1] == ("echo", "the end"), 30, "the end is echoed")
    log = messages(ana, "general")
    assert [text for who, text in log if who == "echo"] == [*said, "the end"]
    assert [text for who, text in log if who == "ana"] == [*said, "the end"]
    assert messages(ana, "@echo") == [("ana", "psst"), ("echo", "psst")]


def test_tail(server: StartServer, connect: Connect, programs: list[Program], tmp_path: Path) -> None:
    """The tail writes each entry of a room once, whatever is killed meanwhile, even in the middle of a line."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    file = tmp_path / "general.jsonl"
    tail = Program(chat, token_of(ana, "tail", room="general", read_only=True), "tail.py", "general", "--to", str(file))
    programs.append(tail)
    tail.start()
    for number in range(4):
        tags = [
            ana.post("say", room="general", text=f"{number}-{count}", id=f"{number}-{count}") for count in range(MANY)
        ]
        half = ana.answer(tags[MANY // 2])["seq"]
        wait_until(partial(has_written, file, half), 30, "half of them are written")
        if number % 2:
            tail.kill()
            file.write_bytes(file.read_bytes()[:-20])  # the last line was not written whole
            tail.start()
        else:
            chat.kill()
            chat.start()
            ana = connect(chat, JsonClient)
            ana.login("ana")
        for count in range(MANY):
            ana.ok("say", room="general", text=f"{number}-{count}", id=f"{number}-{count}")
    last = ana.ok("say", room="general", text="the end")["seq"]
    wait_until(partial(has_written, file, last), 30, "everything is written")
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    entries = [line for line in lines if line["event"] != "epoch"]
    assert [entry["seq"] for entry in entries] == list(range(1, last + 1))
    texts = [entry["text"] for entry in entries if entry["event"] == "message"]
    assert texts == [f"{number}-{count}" for number in range(4) for count in range(MANY)] + ["the end"]


def has_written(file: Path, seq: int) -> bool:
    """Whether the last line that is whole has this number or a later one."""
    *lines, _ = file.read_bytes().split(b"\n") if file.exists() else [b""]
    return bool(lines) and bool(json.loads(lines[-1]).get("seq", 0) >= seq)


@pytest.mark.slow
def test_after_a_set_back(server: StartServer, connect: Connect, programs: list[Program], tmp_path: Path) -> None:
    """The database is set back. The tail's file becomes the log that there is, and the bot echoes what it has not seen,
    although it has the numbers of messages that are gone."""
    database = tmp_path / "chat.db"
    chat = server(f"sqlite:///{database}", config=QUICK)
    ana, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bot.register("echo")
    file = tmp_path / "general.jsonl"
    tail = Program(chat, token_of(ana, "tail"), "tail.py", "general", "--to", str(file))
    echo = Program(chat, token_of(bot, "echo"), "echo.py", "--state", str(tmp_path / "echo.json"))
    for one in (tail, echo):
        programs.append(one)
        one.start()
    wait_until((tmp_path / "echo.json").exists, what="the bot has logged in")

    def echoed(*texts: str) -> int:
        ana = connect(chat, JsonClient)
        ana.login("ana")
        for text in texts:
            ana.ok("say", room="general", text=text)
        wait_until(lambda: [text for who, text in messages(ana, "general") if who == "echo"][-1:] == [texts[-1]], 30)
        return int(ana.ok("history", room="general", limit=1)["entries"][-1]["seq"])

    wait_until(partial(has_written, file, echoed("kept")), 30, "the tail has it")
    chat.stop()
    old = database.read_bytes()
    chat.start()
    wait_until(partial(has_written, file, echoed("lost", "lost too", "and this")), 30, "the tail has it")
    chat.stop()
    for one in (tail, echo):
        one.kill()
    database.write_bytes(old)
    chat.start()
    ana = connect(chat, JsonClient)
    ana.login("ana")
    for number in range(MANY):
        ana.ok("say", room="general", text=f"new {number}")
    for one in (tail, echo):
        one.start()
    last = echoed("the end")
    wait_until(partial(has_written, file, last), 30, "everything is written")
    log = ana.ok("history", room="general", after=0, limit=500)["entries"]
    written = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [one for one in written if one["event"] != "epoch"] == log
    said = ["kept", *(f"new {number}" for number in range(MANY)), "the end"]
    assert [one["text"] for one in log if one.get("from") == "echo"] == said


def test_tail_prints(server: StartServer, connect: Connect) -> None:
    """Without a file, the tail prints what comes behind a number, in a room that it joins first."""
    chat = server(config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    ana.ok("create", room="books")
    for text in ("one", "two", "three"):
        ana.ok("say", room="books", text=text)
    bob.register("bob")
    command = [sys.executable, str(EXAMPLES / "tail.py"), *map(str, chat.address), "books", "--after", "2"]
    env = clean_environment({"CHAT_TOKEN": token_of(bob, "tail")})
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, preexec_fn=die_with_parent(signal.SIGKILL)) as tail:
        assert tail.stdout is not None
        printed = [json.loads(tail.stdout.readline()) for _ in range(3)]
        tail.kill()
    assert [(one["event"], one["seq"]) for one in printed] == [("message", 3), ("message", 4), ("joined", 5)]


def test_post(server: StartServer, connect: Connect) -> None:
    """A post is stored once however often it is tried with its id; a refusal is an exit status and a line that says
    why."""
    chat = server(config=QUICK)
    ana, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bot.register("cron")
    token = token_of(bot, "cron")
    post = [sys.executable, str(EXAMPLES / "post.py"), *map(str, chat.address)]
    env = clean_environment({"CHAT_TOKEN": token})

    def run(*words: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [*post, *words], input=text, env=env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout, done.stderr

    for _ in range(2):
        assert run("general", "--id", "backup-1", text="two\nlines\n") == (0, "Stored as general #3.\n", "")
    assert run("nowhere", "hello")[::2] == (1, "There is no room nowhere. For a list, use the command rooms.\n")
    chat.kill()
    assert run("general", "hello", "--seconds", "0")[0] == 1
    with subprocess.Popen([*post, "general", "later"], env=env, stdout=subprocess.PIPE, text=True) as waiting:
        chat.start()
        assert waiting.communicate(timeout=30)[0] == "Stored as general #4.\n"
    again = connect(chat, JsonClient)
    again.login("ana")
    assert messages(again, "general") == [("cron", "two\nlines"), ("cron", "later")]


@pytest.mark.skipif(shutil.which("nc") is None, reason="needs nc")
def test_post_from_a_shell(server: StartServer, connect: Connect) -> None:
    """The shell script succeeds once its line is stored, and otherwise says why; a text cannot give commands. What
    docs/programs.md has for shells works too."""
    chat = server(config=QUICK)
    ana, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bot.register("cron")
    env = clean_environment(
        {"CHAT_TOKEN": token_of(bot, "cron"), "CHAT_HOST": chat.address[0], "CHAT_PORT": str(chat.port)}
    )

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", str(EXAMPLES / "post.sh"), *words], env=env, capture_output=True, text=True, check=False
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    assert run("general", "the backup\n/leave general\n is done") == (0, "")
    assert messages(ana, "general") == [("cron", "the backup /leave general is done")]
    code, why = run("nowhere", "hello")
    assert code == 1
    assert "There is no room nowhere" in why
    said: list[str] = []
    for block in re.findall(r"\n\n((?:    .*\n)+)", PAGE.read_text(encoding="utf-8")):
        if "nc -N" in block and (shutil.which("jq") or "jq" not in block):
            command = block.replace("localhost 4000", " ".join(map(str, chat.address)))
            script = f"CHAT_TOKEN={env['CHAT_TOKEN']}\n{command}"  # as typed: only the page exports it
            done = subprocess.run(
                ["sh", "-c", script], env=clean_environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done
            said.append(done.stdout.splitlines()[-1])
    assert said[0] == "* Stored as general #4."
    assert set(said[1:]) <= {"true"}
    chat.kill()
    assert run("general", "hello") == (1, "There was no answer.\n")
