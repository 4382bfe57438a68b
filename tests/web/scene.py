"""A small town in which people have talked, for the pictures and for what is measured in many states."""

from collections.abc import Callable

from tests.support.websocket import WebSocketClient
from tests.web.chromium import Person

BOOKS = (
    ("bob", "Has anybody finished *Middlemarch* yet?"),
    ("bob", "I am at the part with the will."),
    (
        "cleo",
        "Two hundred pages to go. It gets better with every chapter, and I keep reading passages aloud.",
    ),
    ("dara", "Same here:\n> It is a narrow mind which cannot look at a subject from various points of view."),
    ("cleo", "For Thursday, what we need:\n- tea ☕\n- the *long* table\n- somebody who asks the first question"),
    ("bob", "@ana could you ask it? You did so well last time."),
    (
        "emil",
        "The list of what we have read: https://example.org/books\nTo get it as text: `curl example.org/books.txt`",
    ),
)


def settle(program: Callable[[str], WebSocketClient]) -> None:
    """Let people join rooms and talk; ana is the one who will look at it."""
    bob, cleo, dara, emil = (program(name) for name in ("bob", "cleo", "dara", "emil"))
    cleo.ok("rename", display="Cleo Marchetti")
    dara.ok("rename", display="Dara Ó Briain")
    bob.ok(
        "create", room="books", topic="What we read this winter: Middlemarch, chapters 40 to 62. We meet on Thursdays."
    )
    for room in ("kitchen", "release-1-1", "walks"):
        bob.ok("create", room=room)
    people = {"bob": bob, "cleo": cleo, "dara": dara, "emil": emil}
    for one in (cleo, dara, emil):
        one.ok("join", room="books")
    seqs = [people[name].ok("say", room="books", text=text)["seq"] for name, text in BOOKS]
    cleo.ok("reply", room="books", seq=seqs[0], text="Almost! No spoilers, please.")
    for one in (bob, cleo, emil):
        one.ok("react", room="books", seq=seqs[4], reaction="❤")
    dara.ok("react", room="books", seq=seqs[4], reaction="+1")
    bob.ok("pin", room="books", seq=seqs[6])
    bob.ok("edit", room="books", seq=seqs[1], text="I am at the part with the will, and furious.")


def move_in(ana: Person, program: Callable[[str], WebSocketClient]) -> None:
    """Let ana register on her page and join the rooms; then others write to her."""
    ana.register("ana")
    again = program("ana")
    for room in ("books", "kitchen", "release-1-1", "walks"):
        again.ok("join", room=room)
    bob, cleo = program("bob"), program("cleo")
    ana.goto("books")
    ana.hears("The list of what we have read")
    ana.say("I will. It is about the second marriage, so be warned.")
    ana.hears("be warned")
    bob.say("@ana", "Thank you! I bring the cake.")
    cleo.say("@ana", "See you on Thursday?")
    bob.say("release-1-1", "ana: the tests are green")
    cleo.ok("join", room="kitchen")
    cleo.say("kitchen", "There is soup.")
    bob.say("kitchen", "On my way.")
    bob.ok("create", room="attic", visibility="private")
    bob.ok("invite", room="attic", name="ana")
    cleo.ok("reply", room="books", seq=9, text="I have been warned 😄")
    ana.hears("I have been warned")
    ana.find(".invitation")
