"""Accounts that a ban of an address or network would hit, and whether that looks like a mistake."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, or_, select

from chatserver.store.db.schema import AccountRow, SessionRow
from chatserver.values.events import OPERATOR
from chatserver.wire.addresses import canonical

NAMES_SHOWN = 5

WIDE_BITS: Final = {4: 8, 6: 24}
"""By version, the length of a prefix below which a network has more addresses than any one provider."""


class Hit(Struct, frozen=True):
    """An account that is connected from a network, or an operator who has been."""

    name: str
    operator: bool
    connected: bool


def hit_by(db: Connection, network: IPv4Network | IPv6Network) -> list[Hit]:
    """The accounts that are connected from this network now, and operators that ever were; operators first, then by
    name.

    Reads all open sessions, and all sessions of operators.
    """
    operator = AccountRow.kind == OPERATOR
    connected = SessionRow.disconnected_at.is_(None)
    rows = db.execute(
        select(AccountRow.name, operator.label("operator"), connected.label("connected"), SessionRow.address)
        .join(SessionRow, SessionRow.account_id == AccountRow.id)
        .where(or_(connected, operator), AccountRow.disabled_at.is_(None))
    )
    found: dict[str, Hit] = {}
    for row in rows:
        if _contains(network, row.address):
            known = found.get(row.name)
            is_connected = row.connected or (known is not None and known.connected)
            found[row.name] = Hit(row.name, bool(row.operator), is_connected)
    return sorted(found.values(), key=lambda one: (not one.operator, one.name.lower()))


def doubts(network: IPv4Network | IPv6Network, hit: list[Hit], own: str = "") -> str:
    """Why a ban of a network that would hit these is more likely a mistake than meant, and whom it would hit, as a
    sentence; empty if nothing speaks against it. `own` is the address of the person who bans."""
    covered = [f"the operator {one.name}" for one in hit if one.operator]
    if own and _contains(network, own):
        covered.append(f"your own address {own}")
    if network.overlaps(ip_network("127.0.0.0/8" if network.version == 4 else "::1")):
        covered.append("this host itself")
    if network.prefixlen < WIDE_BITS[network.version]:
        covered.append("more addresses than any one provider has")
    if not covered:
        return ""
    connected = [one.name for one in hit if one.connected]
    names = ", ".join(connected[:NAMES_SHOWN])
    if len(connected) > NAMES_SHOWN:
        names += f" and {len(connected) - NAMES_SHOWN} more"
    called = network.network_address if network.prefixlen == network.max_prefixlen else network
    return f"{called} covers {', '.join(covered)}{'; connected from there now: ' + names if names else ''}."


def _contains(network: IPv4Network | IPv6Network, address: Any) -> bool:
    try:
        return canonical(ip_address(str(address).partition("%")[0])) in network
    except ValueError:  # the address of a Unix socket
        return False
