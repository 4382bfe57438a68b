"""What Chromium itself knows of one page, by its DevTools protocol: requests, frames, the heap, where time goes."""

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.web.chromium import SECONDS, Person

Event = dict[str, Any]


class DevTools:
    """A connection of its own to the page of a person, beside the driver's; `events` has all that came, in order."""

    def __init__(self, person: Person) -> None:
        import websocket

        address = person.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        url = f"ws://{address}/devtools/page/{person.handle}"
        self._socket = websocket.create_connection(url, timeout=SECONDS, suppress_origin=True)
        self._calls = 0
        self.events: list[tuple[str, Event]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the page stays."""
        self._socket.close()

    def call(self, method: str, **fields: Any) -> Any:
        """A command, and its answer. What happened before is in `events` then."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": fields}))
        while (answer := self._read()).get("id") != self._calls:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, once it is there."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "a script failed"))
        return answer["result"].get("value")

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Wait until this is true of `events`."""
        deadline = time.monotonic() + SECONDS
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"Not within {SECONDS:g} s: {what}")
            self.evaluate("new Promise(done => setTimeout(done, 50))")

    def of(self, method: str) -> list[Event]:
        """The events of one kind so far."""
        self.evaluate("0")
        return [fields for name, fields in self.events if name == method]

    def heap(self) -> int:
        """How many bytes of JavaScript's heap are in use once garbage is collected."""
        self.call("HeapProfiler.enable")
        for _ in range(2):  # what the first one has finalized, the second one collects
            self.call("HeapProfiler.collectGarbage")
        return int(self.call("Runtime.getHeapUsage")["usedSize"])

    def _read(self) -> Event:
        message: Event = json.loads(self._socket.recv())
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message
