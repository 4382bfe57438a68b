"""A commit's subject fits into the lists that git shows: one line of at most 72 characters, then an empty one."""

import sys
from pathlib import Path

LONGEST = 72


def fault(message: str) -> str | None:
    """The fault of a commit message, as git passes it to the hook `commit-msg`; None if there is none."""
    lines = [line for line in message.splitlines() if not line.startswith("#")]
    subject = lines[0] if lines else ""
    if not subject.strip():
        return "The first line of the message is empty: it is the subject."
    if len(subject) > LONGEST:
        return f"The subject has {len(subject)} characters; {LONGEST} is the limit: {subject}"
    if len(lines) > 1 and lines[1].strip():
        return "Leave the second line of the message empty: the subject is one line."
    return None


if __name__ == "__main__":
    sys.exit(fault(Path(sys.argv[1]).read_text(encoding="utf-8")))
