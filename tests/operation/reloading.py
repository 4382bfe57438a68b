"""A hall whose settings are in a file, with what reloads it."""

import queue
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec import structs
from twisted.internet.defer import ensureDeferred

from chatserver.operation.control.reload import Reload, Reloaded
from chatserver.settings.file import load
from chatserver.settings.tables import Limits, Settings
from tests.support.hall import QUIET, Client, Hall


def toml(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Town:
    """`calls` are those that threads hand to the reactor. Limits that the file does not set are those of `quiet`."""

    def __init__(self, folder: Path, quiet: Limits = QUIET) -> None:
        self.file = folder / "chatserver.toml"
        self.file.write_text("")
        self.hall = Hall(folder, settings=Settings(limits=structs.replace(quiet)))
        self.quiet = {name: getattr(quiet, name) for name in quiet.__struct_fields__}
        self.calls: queue.Queue[Callable[[], Any]] = queue.Queue()
        self.levels: list[str] = []
        self.nobodies: list[str] = []
        self.problem: Exception | None = None
        self.running: Any
        reactor = SimpleNamespace(callFromThread=lambda call, *args: self.calls.put(lambda: call(*args)))
        self.running = SimpleNamespace(
            reactor=reactor,
            settings=self.hall.settings,
            store=self.hall.inline,
            connections=self.hall.connections,
            hasher=SimpleNamespace(follow=self.nobodies.append),
            logs=SimpleNamespace(set_level=self.levels.append),
            now=self.hall.now,
            read_settings=self._read,
        )
        self.reload = Reload(self.running)
        self.reload._serving = True

    def _read(self) -> Settings:
        if self.problem is not None:
            raise self.problem
        found = load(self.file)
        named = msgspec.toml.decode(self.file.read_bytes()).get("limits", {})
        return structs.replace(found, limits=Limits(**(self.quiet | named)))

    def begin(self) -> list[Reloaded]:
        """Asks for a reload; the list has its result once there is one."""
        done: list[Reloaded] = []
        ensureDeferred(self.reload.reload()).addCallback(done.append)
        return done

    def finish(self, done: list[Reloaded]) -> Reloaded:
        while not done:
            self.hall.settle()
            if not done:
                self.calls.get(timeout=30)()
        return done[0]

    def change(self, text: str) -> Reloaded:
        """The file is this now, and is taken over."""
        self.file.write_text(text)
        return self.finish(self.begin())

    def limits(self, **changes: Any) -> Reloaded:
        return self.change("[limits]\n" + "".join(f"{name} = {toml(value)}\n" for name, value in changes.items()))

    def server(self, **changes: Any) -> Reloaded:
        return self.change("[server]\n" + "".join(f"{name} = {toml(value)}\n" for name, value in changes.items()))

    def comes_from(self, address: str) -> Client:
        return self.hall.client(address=SimpleNamespace(host=address))
