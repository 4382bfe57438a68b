"""`chatctl example`: the files that an installation needs, as this version has them."""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "unit": ("chatserver.service",),
    "socket": ("chatserver.socket",),
    "node-unit": ("chatserver@.service",),
    "node-socket": ("chatserver@.socket",),
    "config": ("chatserver.toml",),
    "nginx": ("nginx.conf",),
    "haproxy": ("haproxy.cfg",),
    "haproxy-cluster": ("haproxy-cluster.cfg",),
    "fail2ban": ("fail2ban/filter.d/chatserver.conf", "fail2ban/jail.d/chatserver.conf"),
    "fail2ban-filter": ("fail2ban/filter.d/chatserver.conf",),
    "fail2ban-jail": ("fail2ban/jail.d/chatserver.conf",),
    "prometheus": ("prometheus.yml",),
    "alerts": ("alerts.yml",),
    "grafana": ("grafana.json",),
}
"""Their files in deploy/."""


@click.command()
@click.argument("what", type=click.Choice(list(EXAMPLES)))
def example(what: str) -> None:
    """Print a file to start from, for the server or other programs.

    \b
    unit, socket       for /etc/systemd/system/: chatserver.service, chatserver.socket
    node-unit          chatserver@.service: one of several nodes; node-socket: its ports
    config             for /etc/chatserver/chatserver.toml
    nginx, haproxy     a proxy in front of the server; haproxy-cluster: of several nodes
    fail2ban           both of fail2ban-filter and fail2ban-jail, each under its path
    prometheus         what to scrape; alerts: rules for it; grafana: a dashboard
    """
    names = EXAMPLES[what]
    for name in names:
        if len(names) > 1:
            click.echo(f"# /etc/{name}")
        click.echo(shipped(name).read_text(encoding="utf-8"), nl=False)


def shipped(name: str) -> Traversable:
    """A file of deploy/, which is the package chatserver.examples where chatserver is installed."""
    inside = files("chatserver") / "examples"
    folder = inside if inside.is_dir() else Path(__file__).parents[2] / "deploy"
    return folder.joinpath(name)
