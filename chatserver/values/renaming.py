"""What the entry `renamed` says: an account's names before and after."""

from msgspec import Struct


class Renaming(Struct, frozen=True):
    """`display` "": the account has no display name any more."""

    former: str
    name: str
    display: str = ""


def recorded(renaming: Renaming) -> str:
    """As the text of an entry. Names of accounts have no blanks; display names may."""
    return f"{renaming.former} {renaming.name} {renaming.display}".rstrip()


def parse_renaming(text: str) -> Renaming:
    former, _, rest = text.partition(" ")
    name, _, display = rest.partition(" ")
    return Renaming(former, name, display)
