"""Who a session is."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from chatserver.values.account_limits import AS_SET, AccountLimits
from chatserver.values.events import PERSON, AccountKind, Person
from chatserver.values.token_scope import Scope


class Identity(Struct, frozen=True):
    """The account that is logged in on a session, how it proved that, and what it may do. A rename and new limits
    replace the whole.

    `named_at`: since when the account has these two names; None: from the beginning. `token_id` and `certificate_id`:
    the token or certificate that it logged in with, or 0. `proof`: of the password that it logged in with, see
    `store.changes.proof_of`. `scope`: what that token is good for; None: everything.
    """

    account_id: int = 0
    name: str = ""
    display: str = ""
    named_at: datetime | None = None
    kind: AccountKind = PERSON
    limits: AccountLimits = AS_SET
    token_id: int = 0
    certificate_id: int = 0
    proof: int = 0
    scope: Scope | None = None

    @property
    def person(self) -> Person:
        """The account as others know it."""
        return Person(self.account_id, self.name, self.kind, self.display)


NOBODY: Final = Identity()
"""The identity of a session before its login."""
