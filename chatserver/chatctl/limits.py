"""`chatctl user limits`: what one account may use, in place of what the settings say."""

from math import isnan
from typing import Any

import click
from msgspec import structs

from chatserver.chatctl.access import Access, access, find_account
from chatserver.chatctl.output import json_option, say_all
from chatserver.store import Connection, accounts
from chatserver.store.db import database_clock
from chatserver.values.events import AS_SET, AccountLimits


class Rate(click.FloatRange):
    """As its base, but refuses "nan"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        rate = float(super().convert(value, param, ctx))
        if isnan(rate):
            self.fail(f"{value} is no number.", param, ctx)
        return rate


RATE = Rate(min=0, max=1_000_000_000)
COUNT = click.IntRange(min=0, max=1_000_000)


@click.command()
@click.argument("name")
@click.option("--commands-per-second", type=RATE, help="Of all its connections together. 0: no limit.")
@click.option("--bytes-per-second", type=RATE, help="Likewise.")
@click.option("--connections", type=COUNT, help="At the same time. 0: no limit.")
@click.option("--default", is_flag=True, help="First give up what was set before: the settings hold again.")
@json_option
@access
def limits(
    reach: Access,
    name: str,
    commands_per_second: float | None,
    bytes_per_second: float | None,
    connections: int | None,
    default: bool,
    as_json: bool,
) -> None:
    """Show the limits of an account, or set its own ones.

    Without options, shows them. A rate that is set holds for all connections of the account together and for each of
    them.
    """
    chosen = AccountLimits(commands_per_second, bytes_per_second, connections)
    if default or chosen != AS_SET:
        found, own = reach.write(_set, name, chosen, default)
    else:
        found, own = reach.read(_look_up, name)
    settings = reach.settings.limits
    say_all(
        [
            ("Name", found),
            ("Commands/s", _shown(own.commands_per_second, settings.account_commands_per_second)),
            ("Bytes/s", _shown(own.bytes_per_second, settings.account_bytes_per_second)),
            ("Connections", _shown(own.connections, settings.connections_per_account)),
        ],
        {"name": found} | {key: value for key, value in structs.asdict(own).items() if value is not None},
        as_json,
    )


def _shown(own: float | None, setting: float) -> str:
    value = setting if own is None else own
    amount = f"{value:,.10g}" if value else "no limit"
    return f"{amount} (from the settings)" if own is None else amount


def _look_up(db: Connection, name: str) -> tuple[str, AccountLimits]:
    found = find_account(db, name)
    return found.name, accounts.limits_of(db, [found.id]).get(found.id, AS_SET)


def _set(db: Connection, name: str, chosen: AccountLimits, default: bool) -> tuple[str, AccountLimits]:
    found = find_account(db, name)
    before = AS_SET if default else accounts.limits_of(db, [found.id]).get(found.id, AS_SET)
    own = structs.replace(before, **{key: value for key, value in structs.asdict(chosen).items() if value is not None})
    accounts.set_limits(db, found.id, own, database_clock.now(db))
    return found.name, own
