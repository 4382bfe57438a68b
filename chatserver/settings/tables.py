"""Settings: one Struct for each TOML table, each field with its unit in its name. 0 means no limit.

All parts of a server hold the same tables, and read a setting when they use it, so that a reload changes it for all.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from msgspec import Struct, field
from msgspec.structs import force_setattr

SOCKET_PATH_BYTES: Final = 107
"""Maximum length of a Unix socket's path: unix(7), sun_path."""


class ConfigProblem(Exception):
    """The settings cannot be used; the text names the key and the remedy."""


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Any table: an unknown key is an error, so that a misspelt one is not a silent default. Only a reload changes
    a table."""


class Server(Table, frozen=True):
    name: str = "chatserver"  # in the greeting
    node: str = ""  # tells the sessions of this process from those of others on the same database; empty: see `named`
    listen: list[str] = field(default_factory=lambda: ["tcp:4000:interface=127.0.0.1"])  # see net/doors/
    database: str = "sqlite:///chatserver.db"
    greeting: str = ""  # replaces the first line, without its "* "
    registration: Literal["open", "closed", "code"] = "open"
    registration_code: str = ""  # required to register if registration is "code"
    reserved_names: list[str] = field(default_factory=list)  # names that nobody can register, besides built-in ones
    trusted_proxies: list[str] = field(default_factory=list)  # networks whose connections begin with a PROXY header
    trusted_forwarders: list[str] = field(default_factory=list)  # networks whose requests have X-Forwarded-For
    guests: bool = False  # whether people may log in without an account, to public rooms only
    default_rooms: list[str] = field(default_factory=lambda: ["general"])  # created at start; new accounts join them
    motd: str = ""  # a notice after login
    contact: str = ""  # for people who have forgotten their password
    origins: list[str] = field(default_factory=list)  # web pages that may connect; empty: those of the same host
    hosts: list[str] = field(default_factory=list)  # names of the server, by which its own pages may connect
    plaintext_login: bool = True  # whether passwords are accepted without TLS from beyond this host
    metrics: str = ""  # an endpoint for monitoring
    control: str = "auto"  # the socket of chatctl: see operation/control/place.py; empty: none

    def __repr__(self) -> str:  # the database URL may contain a password, and the code is a secret
        return f"Server({self.name!r})"


MAIN: Final = "main"
"""The name of the only node."""
NAME_CHARACTERS: Final = 64
"""Maximum length of a node's name."""

FOLLOWS: Final = -1
"""The default of a limit that is off if a wider one is: see FOLLOWING."""

FOLLOWING: Final[dict[str, dict[str, int]]] = {
    "commands_per_second": {
        "bytes_per_second": 32_768,
        "account_commands_per_second": 40,
        "account_bytes_per_second": 65_536,
    },
    "connections_per_address": {
        "connections_per_minute": 240,
        "pending_per_network": 256,
        "registrations_per_hour": 100,
        "guests_per_address": 20,
    },
}
"""By limit, the values of those that are not set in the file; if it is 0, they are 0 too. An administrator who disables
rates of connections, or quotas of addresses, means all of these."""


class Limits(Table, frozen=True):
    """Limits on a client, an address, a network and an account. docs/security.md says what each one protects. An
    address is an IPv4 address or an IPv6 /64; a network is an IPv4 /24 or an IPv6 /48."""

    exempt: list[str] = field(default_factory=list)  # networks whose addresses no quota or rate below counts

    # What one connection may send
    max_line_bytes: int = 53_248  # line end included: 12 for each character of the longest message, and the rest
    window: int = 32  # commands of one connection under way before reading from it pauses
    turn_bytes: int = 16_384  # taken from one connection in one turn of the reactor
    turn_lines: int = 64  # lines that it takes, blank ones included
    handshake_seconds: float = 30  # from connecting to logging in
    typing_seconds: float = 120  # for people instead of handshake_seconds, counted anew with each line typed
    handshake_bytes: int = 8192  # from connecting to logging in
    failed_logins: int = 3
    strikes: int = 20  # refused commands within a minute

    # Rates, in the long run and at once: faster clients are read later
    commands_per_second: float = 20  # of one connection
    command_burst: int = 200
    bytes_per_second: float = FOLLOWS  # of one connection
    byte_burst: int = 524_288
    account_commands_per_second: float = FOLLOWS  # of all connections of an account
    account_command_burst: int = 400
    account_bytes_per_second: float = FOLLOWS
    account_byte_burst: int = 1_048_576

    # Connections
    connections: int = 20_000
    connections_per_address: int = 512
    connections_per_account: int = 20
    network_times: int = 4  # the number of its addresses whose quotas a network may use; 0: networks are not counted
    connections_per_minute: int = FOLLOWS  # new ones, of one address; further ones are slowed, then refused
    pending_connections: int = 2_000  # not yet logged in; the oldest makes way for a new one
    pending_per_address: int = 64
    pending_per_network: int = FOLLOWS
    offences_per_address: int = 50  # within a minute; then its connections are slowed, and at ten times as many refused
    guess_seconds: float = 1  # the wait after a wrong password, token or code; it doubles with each of an address
    guess_seconds_most: float = 900  # what it doubles up to

    # Counts
    registrations_per_hour: int = FOLLOWS  # of one address
    guests_per_address: int = FOLLOWS  # connected at the same time
    rooms_per_account: int = 50  # that it owns
    rooms_per_hour: int = 20  # that one account creates, and ten times as many direct rooms
    tokens_per_account: int = 50
    renames_per_day: int = 10  # of one account, its display name included
    former_name_days: float = 90  # for this long nobody else can have a name that an account has given up
    invitations_sent: int = 200  # pending, of one account
    invitations_received: int = 100  # pending, to one account

    # What is sent
    answer_bytes: int = 262_144  # maximum size of an answer; clients request the rest
    unsent_bytes_per_account: int = 4_194_304  # waiting for its connections to read
    stalled_seconds: float = 300  # a client that reads nothing for this long is disconnected
    least_bytes_per_second: float = 64  # and so is one that reads less than this while more waits for it
    ping_seconds: float = 90  # a program that sent nothing for this long is sent a ping
    pong_seconds: float = 60  # and disconnected if it sends nothing for this long after that
    presence_seconds: float = 2  # going offline is published after this time, unless the account is back
    presence_members: int = 200  # rooms with more sessions than this get no presence
    news_seconds: float = 5  # minimum interval between news of presence and away of an account
    joins_per_minute: int = 10  # of one account, of the same room; then joining it again has to wait

    def __post_init__(self) -> None:
        for wider, following in FOLLOWING.items():
            for name, value in following.items():
                if getattr(self, name) == FOLLOWS:
                    force_setattr(self, name, value if getattr(self, wider) else 0)


DEFAULT_LIMITS: Final = Limits()
"""Limits of a server by default."""

NO_LIMITS: Final[dict[str, Any]] = dict.fromkeys(
    (
        "turn_bytes",
        "turn_lines",
        "commands_per_second",
        "bytes_per_second",
        "account_commands_per_second",
        "account_bytes_per_second",
        "connections_per_address",
        "connections_per_account",
        "connections_per_minute",
        "pending_per_address",
        "pending_per_network",
        "offences_per_address",
        "guess_seconds",
        "registrations_per_hour",
        "guests_per_address",
        "rooms_per_account",
        "rooms_per_hour",
        "tokens_per_account",
        "renames_per_day",
        "invitations_sent",
        "invitations_received",
        "answer_bytes",
        "unsent_bytes_per_account",
        "least_bytes_per_second",
        "news_seconds",
        "joins_per_minute",
    ),
    0,
)
"""The limits that benchmarks and some tests switch off: all that depend on activity."""


class Passwords(Table, frozen=True):
    """Parameters of Argon2id (RFC 9106), and of the pool that computes it."""

    memory_kib: int = 19456
    time_cost: int = 2
    parallelism: int = 1
    threads: int = 2
    queue: int = 1_024  # logins waiting for a thread; beyond that, the address with the most waiting is refused
    min_length: int = 8  # characters


class Pipeline(Table, frozen=True):
    write_lanes: int = 2
    read_lanes: int = 2
    take: int = 512  # sessions whose messages share a transaction
    database_seconds: float = 10  # a call that the database does not answer for this long is given up
    read_seconds: float = 5  # a query that only reads ends after this time, with what it found


class Shutdown(Table, frozen=True):
    drain_seconds: float = 3  # for commands that have arrived
    flush_seconds: float = 5  # for slow clients to read their answers


class Log(Table, frozen=True):
    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warn", "error"] = "info"  # the least important level that is logged
    slow_seconds: float = 1  # statements that take longer are logged; 0: none


class Retention(Table, frozen=True):
    """Limits on old entries. A room can have limits of its own."""

    days: float = 0  # entries that are older
    entries: int = 0  # entries beyond the newest ones of a room
    session_days: float = 90  # rows of `session` that ended earlier
    id_days: float = 0  # the ids of removed messages, by which a retry is known, of those that are older


class Search(Table, frozen=True):
    language: str = ""  # words are found by their stems in it; empty: as they are written


class Bus(Table, frozen=True):
    """How several nodes on one PostgreSQL database notify each other. See docs/scaling.md."""

    url: str = ""  # "postgres": the database itself; valkey://HOST:PORT; empty: there is one node

    def __repr__(self) -> str:  # the URL may contain a password
        return f"Bus({self.url.partition(':')[0]!r})"


class Settings(Table, frozen=True):
    server: Server = field(default_factory=Server)
    limits: Limits = field(default_factory=Limits)
    passwords: Passwords = field(default_factory=Passwords)
    pipeline: Pipeline = field(default_factory=Pipeline)
    shutdown: Shutdown = field(default_factory=Shutdown)
    log: Log = field(default_factory=Log)
    retention: Retention = field(default_factory=Retention)
    search: Search = field(default_factory=Search)
    bus: Bus = field(default_factory=Bus)


DEFAULT_SETTINGS: Final = Settings()
"""Settings of a server by default."""


def named(settings: Settings, node: str) -> None:
    """Names the server. Where it is given no name it is `MAIN`, or in a cluster one that it takes at its start."""
    force_setattr(settings.server, "node", node)


def each_setting(settings: Settings) -> Iterator[tuple[str, Table, str, Any]]:
    """Every setting: its name in the file, its table, its key there, and its value."""
    for name in settings.__struct_fields__:
        table: Table = getattr(settings, name)
        for key in table.__struct_fields__:
            yield f"{name}.{key}", table, key, getattr(table, key)
