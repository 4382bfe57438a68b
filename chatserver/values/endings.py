"""What a client can do once its connection has ended, by the reason of the end. Reasons: see `events.Closing`."""

from typing import Final

AGAIN: Final = "connect again"
GOODBYE: Final = "Goodbye."
LEAVE: Final = "Press Enter to leave."
COME_BACK: Final = "Press Enter, then connect again."
"""For people at `nc`, which finds out that the connection has ended only when it has something to send."""
FENCED: Final = ("fenced", "The server was interrupted and starts anew.")
"""Reason and text for the connections of a server whose lease has lapsed."""

THEN: Final = {
    "logout": "",
    "erased": "",
    "banned": "",
    "disabled": "",
    "kicked": "",
    "handshake": "connect again and log in right away",
    "failed-logins": "connect again when you have the password",
    "password": "connect again with the new one",
    "token-revoked": "connect again with another one",
    "token-expired": "connect again with another one",
    "certificate-removed": "connect again with your password",
    "stalled": "connect again to continue",
    "rewound": "connect again to see it",
}
"""The end of a sentence; "" where nothing is to be done, or somebody does not want it. For all other reasons: AGAIN."""


def for_programs(reason: str, text: str) -> str:
    """The text of an end with what to do then."""
    then = THEN.get(reason, AGAIN)
    return f"{text} {then[0].upper()}{then[1:]}." if then else text


def for_people(reason: str, text: str, contact: str = "", kept: int = 0) -> str:
    """For people. `contact`: for their questions, if that is known. `kept`: how many lines of theirs would have
    been sent again."""
    if kept:
        text = f"{text} {kept} line{'s' if kept > 1 else ''} that you said could not be sent."
    if reason in ("banned", "disabled") and contact:
        text = f"{text} Ask {contact} about it."
    then = THEN.get(reason, AGAIN)
    return f"{text} Press Enter, then {then}." if then else f"{text} {LEAVE}"
