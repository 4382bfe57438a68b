"""A program that keeps a copy of its rooms, as "Epochs" in docs/protocol.md says."""

from tests.support.client import NOT_ENTRIES, JsonClient, Message


class Replica:
    """What outlives connections: the epoch, and the entries of each room by number."""

    def __init__(self, name: str, *rooms: str) -> None:
        self.name = name
        self.epoch: str | None = None
        self.logs: dict[str, dict[int, Message]] = {room: {} for room in rooms}
        self.dropped: dict[str, int] = {}
        """By room, the lowest number behind which entries were dropped."""
        self._client: JsonClient | None = None
        self._read = 0

    def connect(self, client: JsonClient) -> Message:
        """Logs in, and resumes."""
        self._client, self._read = client, 0
        last = {room: max(log, default=0) for room, log in self.logs.items()}
        answer = client.login(self.name, resume=last, epoch=self.epoch)
        self._adopt(answer)
        self.read()
        return answer

    def read(self) -> None:
        """Takes what has arrived."""
        client = self._client
        assert client is not None
        for event in client.events[self._read :]:
            if "at" in event and event["event"] not in NOT_ENTRIES:
                log = self.logs[event["room"]]
                assert event["seq"] == max(log, default=0) + 1, event
                log[event["seq"]] = event
            else:
                self._adopt(event)
        self._read = len(client.events)

    def wait(self, room: str, seq: int) -> None:
        """Waits until the copy goes up to this number."""
        assert self._client is not None
        self._client.wait_event(lambda event: event.get("room") == room and event.get("seq", 0) >= seq)
        self.read()

    def end(self) -> Message:
        """Waits for the end of the connection; returns the last event."""
        assert self._client is not None
        closing = self._client.wait_closing()
        self.read()
        return closing

    def texts(self, room: str) -> list[str | None]:
        return [entry.get("text") for _, entry in sorted(self.logs[room].items())]

    def _adopt(self, message: Message) -> None:
        self.epoch = message.get("epoch", self.epoch)
        for room, last in message.get("common", {}).items():
            self.logs[room] = {seq: entry for seq, entry in self.logs[room].items() if seq <= last}
            self.dropped[room] = min(last, self.dropped.get(room, last))
