"""The statements that store messages: each also checks permission, in the database. On PostgreSQL, several messages of
which none answers or names somebody are stored by `append_plain` where nothing stands against any of them in a room;
`append` judges each message by itself."""

from typing import Final

from chatserver.store.db.database_clock import POSTGRES_NOW, SQLITE_NOW
from chatserver.store.mentions import NAMED_POSTGRES
from chatserver.values.events import ERASED, MESSAGE, PACED, PRIVATE

NO_MESSAGE: Final = "no-message"
"""The outcome of a reply to something that is no message, or none that its author may read, or none any more."""

AGAIN: Final = "again"
"""On PostgreSQL, the outcome of a statement for drafts whose room another transaction changed while it waited for the
lock of the room: it still sees the memberships from before, so the drafts are judged anew."""

LOCK_FIRST: Final = 64
"""Number of statements on this connection that lock their rooms before they judge, after AGAIN: another node writes to
the same rooms as this one. AGAIN costs another statement and its round trip, a lock that nobody waits for a tenth of
that."""

SPECIAL: Final = 64
"""Number of takes for which a room counts as special, in which something stood against a message: takes with messages
to it are judged one by one at once, instead of after an attempt to store them without."""

RECENT_ENTRIES: Final = 1000
"""Maximum number of entries of a room that are searched for the last message, or the last entry, of an author."""


# Decides, for both databases, who may send a message: the rows of `input`, each with its outcome. In a room with a
# pace, an author's second message in a take is too early as well. `messages.is_too_early` has the rule for all other
# things that the room is shown. A removed message is still known by its id: its row has the negative id of its room
# (see `store.retention`). Takes without replies have statements of their own.
_OUTCOME = """
CASE WHEN e.seq IS NOT NULL
     THEN CASE WHEN abs(e.room_id) = i.room_id AND {same} AND (e.text = i.text OR e.state IS NOT NULL) THEN 'dup'
          ELSE 'id-conflict' END
     WHEN m.id IS NULL OR r.deleted_at IS NOT NULL THEN 'not-a-member'
     WHEN m.muted_until > {now} THEN 'muted'
     WHEN m.blocked THEN 'blocked'
     {answered}WHEN r.pace_seconds > 0 AND m.role = 'member' AND ({earlier} EXISTS (
         SELECT 1 FROM entry AS p WHERE p.room_id = i.room_id AND p.seq > r.last_seq - {recent}
         AND p.author_id = i.author_id AND p.kind IN ({paced}) AND {lately})) THEN 'slow'
     ELSE 'stored' END AS outcome
"""


# A reply must answer a message that its author may read, by the rules of `store.visibility` for members.
_ANSWERED = f"""WHEN i.re <> 0 AND NOT EXISTS (
         SELECT 1 FROM entry AS q WHERE q.room_id = i.room_id AND q.seq = i.re AND q.kind = '{MESSAGE}'
         AND q.state IS DISTINCT FROM '{ERASED}'
         AND (r.kind <> '{PRIVATE}' OR r.past_open OR q.seq >= m.joined_seq)) THEN '{NO_MESSAGE}'
     """


_PACED = ", ".join(f"'{kind}'" for kind in sorted(PACED))


def _outcome(now: str, lately: str, *, alone: bool = False, replies: bool = False) -> str:
    earlier = "EXISTS (SELECT 1 FROM input AS f WHERE f.room_id = i.room_id AND f.author_id = i.author_id "
    earlier = "" if alone else earlier + "AND f.ord < i.ord) OR"
    same = "coalesce(e.target_seq, 0) = i.re" if replies else "e.target_seq IS NULL"
    return _OUTCOME.format(
        now=now, lately=lately, earlier=earlier, recent=RECENT_ENTRIES, paced=_PACED, same=same,
        answered=_ANSWERED if replies else "",
    )  # fmt: skip


_LATELY = "p.at > {at} - make_interval(secs => r.pace_seconds)"
_POSTGRES_OUTCOME = _outcome(POSTGRES_NOW, _LATELY.format(at="$2"), replies=True)
_POSTGRES_ONE_OUTCOME = _outcome(POSTGRES_NOW, _LATELY.format(at="$5"), alone=True)
_JUDGED = """
SELECT i.ord, i.room_id, i.author_id, i.text, i.client_id{more}, r.last_seq, r.last_at, r.pace_seconds,
       e.seq AS old_seq, e.at AS old_at, {outcome}
FROM input AS i {joins}
"""

# One index lookup for each row, whatever the planner assumes about the tables: it may have seen them empty.
_MEMBER = "m.room_id = i.room_id AND m.account_id = i.author_id AND m.left_seq IS NULL"
_KNOWN = "e.author_id = i.author_id AND e.client_id = i.client_id AND i.client_id IS NOT NULL"
_POSTGRES_JOINS = f"""
LEFT JOIN LATERAL (SELECT * FROM membership AS m WHERE {_MEMBER} LIMIT 1) AS m ON true
LEFT JOIN LATERAL (SELECT * FROM entry AS e WHERE {_KNOWN} LIMIT 1) AS e ON true
"""
_POSTGRES_ROOM = "LEFT JOIN LATERAL (SELECT * FROM room WHERE id = i.room_id LIMIT 1) AS r ON true"
_SQLITE_JOINS = f"""
LEFT JOIN room AS r ON r.id = i.room_id
LEFT JOIN membership AS m INDEXED BY uq_membership_room_id_account_id_open ON {_MEMBER}
LEFT JOIN entry AS e INDEXED BY uq_entry_author_id_client_id ON {_KNOWN}
"""


# A take in one statement, each message judged by itself: one round trip and one commit. Giving a room its next numbers
# locks it, in the order of the ids, so that two nodes cannot wait for each other. Everything is read as it was when the
# statement began. A room that has had new entries since, such as a ban, is not moved, and nothing is stored there
# (AGAIN): what was judged is still true, and no entry gets a time before that of the last one. The time of an entry is
# returned unless it is $2.
_APPEND = f"""
WITH input AS (
    SELECT ord, (v ->> 0)::bigint AS room_id, (v ->> 1)::bigint AS author_id, v ->> 2 AS text, v ->> 3 AS client_id,
           (v ->> 4)::bigint AS re, v -> 5 AS names
    FROM json_array_elements($1) WITH ORDINALITY AS t(v, ord) ORDER BY room_id
), judged AS MATERIALIZED (
    {_JUDGED.format(outcome=_POSTGRES_OUTCOME, more=", i.re, i.names", joins=_POSTGRES_ROOM + _POSTGRES_JOINS)}
), numbered AS MATERIALIZED (
    SELECT *, CASE outcome WHEN 'stored'
        THEN last_seq + count(*) FILTER (WHERE outcome = 'stored') OVER (PARTITION BY room_id ORDER BY ord)
        WHEN 'slow' THEN pace_seconds ELSE old_seq END AS seq, greatest(last_at, $2) AS at
    FROM judged
), moved AS (
    UPDATE room SET last_seq = n.seq, last_at = n.at
    FROM (
        SELECT room_id, max(last_seq) AS head, max(seq) AS seq, max(at) AS at FROM numbered WHERE outcome = 'stored'
        GROUP BY room_id ORDER BY room_id
    ) AS n
    WHERE room.id = n.room_id AND room.id = ANY (ARRAY(SELECT room_id FROM numbered WHERE outcome = 'stored'))
    AND room.last_seq = n.head AND room.deleted_at IS NULL RETURNING room.id
), stored AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at, target_seq)
    SELECT room_id, seq, '{MESSAGE}', author_id, text, client_id, at, nullif(re, 0) FROM numbered
    WHERE outcome = 'stored' AND room_id IN (SELECT id FROM moved)
), named AS (
    {NAMED_POSTGRES}
)
SELECT CASE WHEN outcome = 'stored' AND room_id NOT IN (SELECT id FROM moved) THEN '{AGAIN}' ELSE outcome END, seq,
       CASE outcome WHEN 'stored' THEN nullif(at, $2) ELSE old_at END
FROM numbered ORDER BY ord
"""


# One message alone, the usual case at low rates: a plan with a third of the nodes, each of which takes time to start
# and to shut down.
_APPEND_ONE = f"""
WITH judged AS MATERIALIZED (
    SELECT e.seq AS old_seq, e.at AS old_at, r.last_seq AS head, r.pace_seconds, {_POSTGRES_ONE_OUTCOME}
    FROM (SELECT $1 AS room_id, $2 AS author_id, $3 AS text, $4 AS client_id) AS i
    {_POSTGRES_ROOM} {_POSTGRES_JOINS}
), moved AS (
    UPDATE room SET last_seq = last_seq + 1, last_at = greatest(last_at, $5)
    WHERE id = $1 AND deleted_at IS NULL AND last_seq = (SELECT head FROM judged WHERE outcome = 'stored')
    RETURNING last_seq, last_at
), stored AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT $1, last_seq, '{MESSAGE}', $2, $3, $4, last_at FROM moved
)
SELECT CASE WHEN outcome = 'stored' AND last_seq IS NULL THEN '{AGAIN}' ELSE outcome END,
       CASE outcome WHEN 'slow' THEN pace_seconds ELSE coalesce(last_seq, old_seq) END,
       coalesce(nullif(last_at, $5), old_at)
FROM judged LEFT JOIN moved ON true
"""
# Several messages, to rooms in which nothing stands against any of them: all authors are members, neither muted nor
# blocked, no id is known, and there is no pace. Who may speak is judged once for each room and author, and the rest
# costs hardly more than the rows. Rooms that are not in the result were left alone: their messages have to be judged.
# $1, $2: the rooms and authors, each pair once. $3, $4: the rooms, each once, with the number of its messages. From $5
# on: the messages, each with its place among those to its room. `deleted_at IS NULL` is asked in a form that is no
# condition of a partial index: by a scan of that index, a room that is deleted meanwhile would be written to.
_APPEND_PLAIN = f"""
WITH plain AS MATERIALIZED (
    SELECT r.id, r.last_seq AS head, t.messages
    FROM unnest($3, $4) AS t(room_id, messages)
    JOIN LATERAL (SELECT * FROM room WHERE id = t.room_id LIMIT 1) AS r ON r.deleted_at IS NULL AND r.pace_seconds = 0
    WHERE t.room_id <> ALL (ARRAY(
        SELECT i.room_id FROM unnest($1, $2) AS i(room_id, author_id)
        LEFT JOIN LATERAL (SELECT * FROM membership AS m WHERE {_MEMBER} LIMIT 1) AS m ON true
        WHERE m.id IS NULL OR m.blocked OR m.muted_until > {POSTGRES_NOW}
        UNION ALL
        SELECT i.room_id FROM unnest($5, $6, $8) AS i(room_id, author_id, client_id)
        JOIN LATERAL (SELECT FROM entry AS e WHERE {_KNOWN} LIMIT 1) AS e ON true
    ))
), moved AS (
    UPDATE room SET last_seq = last_seq + p.messages, last_at = greatest(last_at, $10)
    FROM (SELECT id, head, messages FROM plain ORDER BY id) AS p
    WHERE room.id = p.id AND room.id = ANY (ARRAY(SELECT id FROM plain))
    AND room.last_seq = p.head AND (room.deleted_at IS NULL) IS TRUE RETURNING room.id, p.head, room.last_at
), stored AS (
    INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at)
    SELECT i.room_id, m.head + i.place, '{MESSAGE}', i.author_id, i.text, i.client_id, m.last_at
    FROM unnest($5, $6, $7, $8, $9) AS i(room_id, author_id, text, client_id, place) JOIN moved AS m ON m.id = i.room_id
)
SELECT id, head, nullif(last_at, $10) FROM moved
"""
# Locks the rooms of a take before it is judged. `EXECUTE lock_rooms; EXECUTE append` is one simple query: a round trip
# and one transaction. The second statement sees everything that was committed before the locks were granted, so that no
# outcome is AGAIN.
_LOCK_ROOMS = "SELECT FROM room WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"
_LOCK_ROOM = "SELECT FROM room WHERE id = $1 FOR NO KEY UPDATE"
PREPARED: Final = {
    "append_plain": (
        "(bigint[], bigint[], bigint[], int[], bigint[], bigint[], text[], text[], int[], timestamptz)"
        f" AS {_APPEND_PLAIN}"
    ),
    "append": f"(json, timestamptz) AS {_APPEND}",
    "append_one": f"(bigint, bigint, text, text, timestamptz) AS {_APPEND_ONE}",
    "lock_rooms": f"(bigint[]) AS {_LOCK_ROOMS}",
    "lock_room": f"(bigint) AS {_LOCK_ROOM}",
}
"""The statements for PostgreSQL by name, as PREPARE takes them."""

# SQLite has no round trips, so a take may be a few statements. Times are text there (see `Instant`).
# A Julian day is a float that is exact to a tenth of a millisecond.
_SQLITE_LATELY = "(julianday(?) - julianday(p.at)) * 86400 < r.pace_seconds - 0.001"
JUDGE_SQLITE = [
    "WITH input (ord, room_id, author_id, text, client_id, re) AS (SELECT key, value ->> 0, value ->> 1, value ->> 2, "
    "value ->> 3, value ->> 4 FROM json_each(?))"
    + _JUDGED.format(outcome=_outcome(SQLITE_NOW, _SQLITE_LATELY, replies=replies), more=", i.re", joins=_SQLITE_JOINS)
    + "ORDER BY i.ord"
    for replies in (False, True)
]
STORE_SQLITE = (
    "INSERT INTO entry (room_id, seq, kind, author_id, text, client_id, at, target_seq) "
    f"VALUES (?, ?, '{MESSAGE}', ?, ?, ?, ?, nullif(?, 0))"
)
