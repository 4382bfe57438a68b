"""The help of `chatctl`."""

from collections.abc import Iterator

import click
import pytest

from chatserver.chatctl.main import main

MARGINS = 2 + 6
"""Cells of a line in a list of commands that hold neither the name nor the sentence."""


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command, int]]:
    """Each command with its words, and the room that the list has for its sentence on a terminal of 80 columns."""
    room = 80 - MARGINS - max(map(len, group.commands))
    for name, command in group.commands.items():
        yield " ".join([*path, name]), command, room
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


ALL = {name: (command, room) for name, command, room in commands(main)}


@pytest.mark.parametrize("name", ALL)
def test_first_sentence(name: str) -> None:
    """Every command says in one sentence what it does, as an order, and the sentence is shown whole in the list."""
    command, room = ALL[name]
    said = command.get_short_help_str(limit=room)
    assert said.endswith("."), said
    assert not said.endswith("..."), said
    assert said[0].isupper(), said
    assert not said.split()[0].endswith(("s", "ing")), said


@pytest.mark.parametrize("name", ALL)
def test_options(name: str) -> None:
    """Every option has a sentence, and `--json` the same one everywhere."""
    command, _ = ALL[name]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, (name, option.name)
            assert option.help.rstrip("]").endswith("."), (name, option.help)
            if option.name == "as_json":
                assert option.help == "Print JSON, for programs."
