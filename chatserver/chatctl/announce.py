"""`chatctl announce`: a notice to everybody who is logged in."""

import click

from chatserver.chatctl.access import Access, access
from chatserver.chatctl.amounts import counted
from chatserver.chatctl.control import ask
from chatserver.chatctl.output import json_option, say
from chatserver.operation.control.requests import Announce


@click.command()
@click.argument("text")
@json_option
@access
def announce(reach: Access, text: str, as_json: bool) -> None:
    """Send a notice to everybody on the running server."""
    result = ask(reach, Announce(text=text))
    say(f"Told {counted(result['told'], 'connection')}.", result, as_json)
