"""The settings file, read and checked, and its overrides by the environment and the command line."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from chatserver.settings.tables import MAIN, NAME_CHARACTERS, SOCKET_PATH_BYTES, ConfigProblem, Settings, each_setting
from chatserver.util.words import languages
from chatserver.values.errors import Refused
from chatserver.wire.framing.pages import normal_host, normal_origin
from chatserver.wire.hygiene.text import room_name

MOST_BYTES: Final = 1 << 20
"""Maximum size of a settings file: a device that is named by mistake is not read to its end."""

_KEY: Final = re.compile(r" - at `\$\.(\w+)\.(\w+)`$")
"""How msgspec names a key in a table."""

_BUS: Final = re.compile(r"postgres|valkey://(:[^@/]*@)?[^@/:]+:(?P<port>\d{1,5})(/\d+)?")

_AT_LEAST: Final = {
    "limits.max_line_bytes": 64, "limits.window": 1, "passwords.memory_kib": 8, "passwords.time_cost": 1,
    "passwords.parallelism": 1, "passwords.threads": 1, "passwords.queue": 1, "passwords.min_length": 1,
    "pipeline.write_lanes": 1, "pipeline.read_lanes": 1, "pipeline.take": 1,
}  # fmt: skip


def chosen(
    file: str | None, database: str | None, listen: Sequence[str] = (), metrics: str | None = None,
    log: Mapping[str, str] | None = None,
) -> Settings:  # fmt: skip
    """All settings: the command line over the environment, over the settings file, over the defaults.

    `log`: keys of the table [log]. Raises ConfigProblem.
    """
    path = file or os.environ.get("CHATSERVER_CONFIG")
    settings = load(Path(path) if path else None)
    server = settings.server
    database = database or os.environ.get("CHATSERVER_DATABASE") or server.database
    node = os.environ.get("CHATSERVER_NODE") or server.node or ("" if settings.bus.url else MAIN)
    if not _is_name(node):
        raise ConfigProblem(f"CHATSERVER_NODE must be one line of at most {NAME_CHARACTERS} characters. Correct it.")
    server = msgspec.structs.replace(
        server, node=node, database=database, listen=list(listen) or server.listen, metrics=metrics or server.metrics
    )
    if settings.bus.url and not server.database.startswith("postgres"):
        raise ConfigProblem(
            "bus.url is set, but the database is a SQLite file, on which one server runs at a time. Remove bus.url, or "
            "use PostgreSQL."
        )
    return msgspec.structs.replace(settings, server=server, log=msgspec.structs.replace(settings.log, **(log or {})))


def load(path: Path | None) -> Settings:
    """The settings of a TOML file, or the defaults. Raises ConfigProblem."""
    if path is None:
        return Settings()
    settings = _read(path)
    for problem in _problems(settings):
        raise _wrong(path, problem)
    server = settings.server
    rooms = [room_name(name) for name in server.default_rooms]
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(server, default_rooms=rooms))


def _wrong(path: Path, problem: str) -> ConfigProblem:
    return ConfigProblem(f"The settings file {path} is wrong: {problem}")


def _read(path: Path) -> Settings:
    """Raises ConfigProblem, also for a value of another type."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigProblem(f"The settings file {path} cannot be read ({error.strerror}). Correct --config.") from None
    if len(content) > MOST_BYTES:
        raise ConfigProblem(f"The settings file {path} is larger than {MOST_BYTES} bytes. Correct --config.")
    try:
        return msgspec.toml.decode(content.decode("utf-8-sig"), type=Settings)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(path, f"line {line} is not UTF-8. Correct it, or save the file as UTF-8.") from None
    except msgspec.ValidationError as error:
        raise _wrong(path, f"{error}.{_choice(error)} Correct that key.") from None
    except (ValueError, RecursionError) as error:  # it is no TOML
        raise _wrong(path, f"{error}. Correct that line.") from None


def _choice(error: msgspec.ValidationError) -> str:
    """The values that the key in the error can have, if they are few."""
    found = _KEY.search(str(error))
    if found is None:
        return ""
    kind = get_type_hints(get_type_hints(Settings)[found[1]]).get(found[2])
    return f" It is one of: {', '.join(get_args(kind))}." if get_origin(kind) is Literal else ""


def _problems(settings: Settings) -> Iterator[str]:
    """Problems that no type excludes; each begins with the name of a setting."""
    for name, _, _, value in each_setting(settings):
        least = _AT_LEAST.get(name, 0)
        if isinstance(value, (int, float)) and not least <= value < 2**53:
            yield f"{name} must be {least} or more. Correct it."
        if isinstance(value, str) and not value.isprintable():
            yield f"{name} must be one line of text. Correct it."
    server, passwords = settings.server, settings.passwords
    if passwords.memory_kib < 8 * passwords.parallelism:  # RFC 9106, 3.1
        yield "passwords.memory_kib must be at least 8 times passwords.parallelism. Correct it."
    if server.registration == "code" and not server.registration_code:
        yield "server.registration_code is missing. Add it."
    if not all(map(_is_room, server.default_rooms)):
        yield "server.default_rooms has a name that no room can have. Correct it."
    if not _is_name(server.node):
        yield f"server.node must have at most {NAME_CHARACTERS} characters. Correct it."
    if settings.search.language and settings.search.language not in languages():
        yield f"search.language must be one of these, or empty: {', '.join(languages())}. Correct it."
    if settings.bus.url and not _is_bus(settings.bus.url):
        yield 'bus.url must be "postgres", valkey://HOST:PORT or "". Correct it.'
    yield from _wrong_networks("server.trusted_proxies", server.trusted_proxies)
    yield from _wrong_networks("server.trusted_forwarders", server.trusted_forwarders)
    yield from _wrong_networks("limits.exempt", settings.limits.exempt)
    control = server.control
    if control not in ("", "auto") and (not control.startswith("/") or len(os.fsencode(control)) > SOCKET_PATH_BYTES):
        yield (
            f'server.control must be "auto", "" or an absolute path of at most {SOCKET_PATH_BYTES} bytes. Correct it.'
        )
    if any(origin != "*" and normal_origin(origin) is None for origin in server.origins):
        yield "server.origins contains an entry that is not an origin such as https://chat.example.org. Correct it."
    if any(normal_host(host) != host.lower() for host in server.hosts):
        yield "server.hosts contains an entry that is not a name such as chat.example.org, without a port. Correct it."


def _is_bus(url: str) -> bool:
    found = _BUS.fullmatch(url)
    return found is not None and int(found["port"] or 1) in range(1, 65536)


def _is_name(node: str) -> bool:
    return len(node) <= NAME_CHARACTERS and (node.isprintable() or not node)


def _is_room(name: str) -> bool:
    try:
        return not room_name(name).startswith("@")
    except Refused:
        return False


def _wrong_networks(name: str, networks: list[str]) -> Iterator[str]:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            yield f"{name} contains no network such as 192.0.2.0/24 ({error}). Correct it."
