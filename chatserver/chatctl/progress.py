"""Progress bars of commands that take long: on standard error, and only if that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

import click

from chatserver.store.copies.backup import Told

SHOWN: int = 500
"""Rows after which a bar is drawn anew."""


@contextmanager
def bars() -> Iterator[Callable[[str, int], Told]]:
    """Yields a function that begins a bar: what is done, and how many rows that are. It ends the bar before."""
    with ExitStack() as open_bar:

        def begin(label: str, total: int) -> Told:
            open_bar.close()
            if not sys.stderr.isatty():
                return lambda _rows: None
            return open_bar.enter_context(_bar(label, total))

        yield begin


@contextmanager
def _bar(label: str, total: int) -> Iterator[Told]:
    began, done = monotonic(), 0

    def rate(_item: Any) -> str:
        seconds = monotonic() - began
        return f"{done / seconds:,.0f}/s" if seconds > 0.1 else ""

    with click.progressbar(
        length=total, label=label, file=sys.stderr, item_show_func=rate, update_min_steps=SHOWN
    ) as bar:

        def told(rows: int) -> None:
            nonlocal done
            done += rows
            bar.update(rows, done)

        yield told
