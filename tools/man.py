"""Writes the manual pages of the package, chatserver(8) and chatctl(8), from what the programs say of themselves.

`python -m tools.man FOLDER` writes them there; tools/deb does so.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import click

from chatserver import __version__
from chatserver.chatctl.main import main as chatctl
from chatserver.settings.tables import Settings, each_setting
from chatserver.tap import Options

DOCUMENTATION = "/usr/share/doc/chatserverd"

SERVER = """
The server listens for people, who use telnet, nc or a browser, and for programs, which send one JSON object per line.
Rooms, accounts and messages are in an SQLite file or in PostgreSQL. systemd runs it as
.BR chatserver.service ,
and where several nodes use one database as
.BR chatserver@NAME.service .
Administer it with
.BR chatctl (8).
.PP
SIGTERM ends it in order. SIGHUP
.RB ( "systemctl reload chatserver" )
has it read its settings and certificates again. SIGUSR1 has it open its log again, if that is a file.
"""
FILES = """
.TP
.I /etc/chatserver/environment
The variables that systemd starts it with. CHATSERVER_OPTIONS has further options, and CHATSERVER_DATABASE takes
precedence over the settings. With MIGRATE=yes, an upgrade of the package may migrate PostgreSQL.
.TP
.I /etc/chatserver/chatserver.toml
The settings. docs/operating.md describes each.
.TP
.I /var/lib/chatserver
The working directory, with the SQLite database.
"""
STATUS = """
.TP
.B 0
It was stopped.
.TP
.B 1
Something that may pass: the database does not answer, a port is taken, another server uses the database.
.TP
.B 78
Something that only you can correct: a wrong setting or option, or a schema of another version. systemd does not start
it again.
"""
STATUS_OF_CHATCTL = """
0 after success; 1 with a line that says what to do; 2 for a command that it does not understand.
"""


def chatserver_page() -> str:
    lines = [*_title("chatserver", "chat server for telnet and netcat"), ".SH SYNOPSIS", '.B "twistd \\-n chatserver"']
    lines += ["[\\fIOPTION\\fR]...", ".SH DESCRIPTION", SERVER.strip(), ".SH OPTIONS"]
    lines += _text("They take precedence over the environment, and the environment over the settings file.")
    for flag, text in _server_options():
        lines += [".TP", f".B {_escaped(flag)}", *_text(text)]
    lines += [".SH SETTINGS", *_text("The keys of the settings file, a table after the other. What they mean:"), ".PP"]
    lines += [f".I {DOCUMENTATION}/docs/operating.md"]
    tables: dict[str, list[str]] = {}
    for name, _, key, _ in each_setting(Settings()):
        tables.setdefault(name.partition(".")[0], []).append(key)
    for table, keys in tables.items():
        lines += [".TP", f".B [{_escaped(table)}]", *_text(", ".join(keys))]
    lines += [".SH FILES", FILES.strip(), ".SH EXIT STATUS", STATUS.strip(), *_see_also("chatctl")]
    return "\n".join(lines) + "\n"


def chatctl_page() -> str:
    lines = [*_title("chatctl", "administer a chat server"), ".SH SYNOPSIS", ".B chatctl"]
    lines += ["[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...", ".SH DESCRIPTION"]
    lines += [*_text(chatctl.help or ""), ".SH OPTIONS", *_options(chatctl), ".SH COMMANDS"]
    for words, command in _commands(chatctl, ("chatctl",)):
        context = click.Context(command, info_name=" ".join(words))
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f'.SS "{_escaped(" ".join(words))} {_escaped(usage)}"', *_text(command.help or "")]
        lines += _options(command)
    lines += [".SH EXIT STATUS", STATUS_OF_CHATCTL.strip(), ".SH FILES", FILES.strip(), *_see_also("chatserver")]
    return "\n".join(lines) + "\n"


PAGES = {"chatserver.8": chatserver_page, "chatctl.8": chatctl_page}


def _title(name: str, what: str) -> list[str]:
    version = __version__.partition("+")[0]
    title = f'.TH {name.upper()} 8 "" "chatserver {_escaped(version)}" "System administration"'
    return [title, ".nh", ".ad l", ".SH NAME", f"{name} \\- {what}"]


def _see_also(other: str) -> list[str]:
    return [".SH SEE ALSO", f".BR {other} (8)", ".PP", f".I {DOCUMENTATION}/docs/operating.md"]


def _commands(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with their words, those of subgroups too."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _options(command: click.Command) -> list[str]:
    context = click.Context(command)
    records = [record for one in command.params if (record := one.get_help_record(context)) is not None and record[1]]
    return [line for flag, text in records for line in (".TP", f".B {_escaped(flag)}", *_text(text))]


def _server_options() -> Iterator[tuple[str, str]]:
    parameters: Any = Options.optParameters
    switches: Any = Options.optFlags
    described = [(one[0], one[3]) for one in parameters] + [(one[0], one[2]) for one in switches]
    described.append(("listen", Options.opt_listen.__doc__ or ""))
    flags = {one[0] for one in switches}
    for name, text in sorted(described):
        yield f"--{name}" if name in flags else f"--{name}=VALUE", text


def _text(text: str) -> list[str]:
    """Paragraphs. Those that begin with click's \\b keep their lines."""
    lines: list[str] = []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", dedent(text).strip())):
        if number:
            lines.append(".PP" if lines else "")
        if paragraph.startswith("\b"):
            lines += [".nf", *map(_escaped, paragraph.splitlines()[1:]), ".fi"]
        else:
            lines.append(_escaped(" ".join(paragraph.split())))
    return lines


def _escaped(text: str) -> str:
    """Text as roff shows it: no request, no escape, hyphens as they are typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(sys.argv[1]) / name).write_text(page(), encoding="utf-8")
