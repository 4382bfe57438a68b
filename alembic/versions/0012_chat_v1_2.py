"""chat_v1 1.2: `post` answers messages and writes to one person; reactions and pins; a channel for new entries.

Nothing here may name a table or a function that is looked up in a schema where others can create things.
"""

from types import ModuleType

from alembic import context, op
from sqlalchemy import Connection

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Nothing that servers use changes.
ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

# What a view shows is narrowed by its messages: those of rooms that are shown, and not erased.
_VIEWS = {
    "version": "SELECT 1 AS major, 2 AS minor",
    "reactions": """
        SELECT e.room_id, r.name::text AS room, e.target_seq AS seq, e.text AS reaction, a.name::text AS name, e.at
        FROM {tables}.entry AS e JOIN {tables}.room AS r ON r.id = e.room_id
        JOIN {tables}.entry AS m ON m.room_id = e.room_id AND m.seq = e.target_seq
        JOIN {tables}.account AS a ON a.id = e.author_id
        WHERE e.kind = 'reacted' AND e.text <> '' AND r.kind IN ('public', 'private') AND r.deleted_at IS NULL
          AND m.kind = 'message' AND m.state IS DISTINCT FROM 'erased'
          AND NOT EXISTS (
            SELECT FROM {tables}.entry AS n
            WHERE n.room_id = e.room_id AND n.target_seq = e.target_seq AND n.seq > e.seq AND n.author_id = e.author_id
              AND n.kind IN ('reacted', 'unreacted') AND n.text = e.text)
    """,
    "pins": """
        SELECT m.room_id, r.name::text AS room, m.seq, a.name::text AS pinned_by, p.at AS pinned_at
        FROM {tables}.entry AS m JOIN {tables}.room AS r ON r.id = m.room_id
        LEFT JOIN LATERAL (
            SELECT e.author_id, e.at FROM {tables}.entry AS e
            WHERE e.room_id = m.room_id AND e.target_seq = m.seq AND e.kind = 'pinned' ORDER BY e.seq DESC LIMIT 1
        ) AS p ON true
        LEFT JOIN {tables}.account AS a ON a.id = p.author_id
        WHERE m.pinned AND r.kind IN ('public', 'private') AND r.deleted_at IS NULL
    """,
}

# The two forms of `post` differ in the type of the fourth argument; the one without `reply_to` keeps its rights.
_FORMS = """
CREATE OR REPLACE FUNCTION chat_v1.post(room text, sender text, message text, id text DEFAULT NULL) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT chat_v1.stored(post.room, post.sender, post.message, post.id, NULL)
$$;
CREATE FUNCTION chat_v1.post(room text, sender text, message text, reply_to bigint, id text DEFAULT NULL) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT chat_v1.stored(post.room, post.sender, post.message, post.id, post.reply_to)
$$;
"""

_STORED = r"""
CREATE FUNCTION chat_v1.stored(room text, sender text, message text, id text, reply_to bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    direct boolean := stored.room LIKE '@%';
    label text := lower(regexp_replace(stored.room, '^#', '') COLLATE "C");
    wanted text := label;
    called text := stored.sender;
    said text;
    given_id text;
    author record;
    other record;
    known record;
    here record;
    member record;
    moment timestamptz;
    number bigint;
    stamp timestamptz;
BEGIN
    IF direct AND label !~ '^@(~[0-9]{1,18}|[a-z][a-z0-9_-]{0,31})$' THEN
        RAISE EXCEPTION 'bad-name: this is no name of an account. Name the account to write to, as in @ana.'
            USING ERRCODE = 'ZC001';
    ELSIF NOT direct AND label !~ '^[a-z0-9][a-z0-9_-]{0,63}$' OR label IS NULL THEN
        RAISE EXCEPTION 'bad-name: this is no name of a room. Name one as in chat_v1.rooms, with or without #.'
            USING ERRCODE = 'ZC001';
    ELSIF called IS NULL OR called !~ '^(~[0-9]{1,18}|[A-Za-z][A-Za-z0-9_-]{0,31})$' THEN
        RAISE EXCEPTION 'bad-name: this is no name of an account. Name the account that posts.'
            USING ERRCODE = 'ZC002';
    END IF;
    said := regexp_replace(chat_v1.cleaned(stored.message, 'the message', true),
                           '[ \n\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+$', '');
    IF said IS NULL OR said = '' THEN
        RAISE EXCEPTION 'empty: the message is empty. Post some text.' USING ERRCODE = 'ZC007';
    ELSIF length(said) > 4096 THEN
        RAISE EXCEPTION 'too-long: a message can have at most 4096 characters; this one has %. Shorten it.',
            length(said) USING ERRCODE = 'ZC007';
    ELSIF length(said) - length(replace(said, E'\n', '')) > 99 THEN
        RAISE EXCEPTION 'too-long: a message can have at most 100 lines. Shorten it.' USING ERRCODE = 'ZC007';
    END IF;
    given_id := chat_v1.cleaned(stored.id, 'the id', false);
    IF length(given_id) NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION 'bad-command: an id has from 1 to 64 characters. Choose another one, or NULL.'
            USING ERRCODE = 'ZC007';
    END IF;

    SELECT a.id, a.kind INTO author FROM __TABLES__.account AS a WHERE a.name_key = lower(called COLLATE "C");
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no-such-user: there is no account %. Create it: chatctl user add %', called, called
            USING ERRCODE = 'ZC002';
    END IF;
    IF direct THEN
        SELECT a.id, a.kind, a.disabled_at INTO other
        FROM __TABLES__.account AS a WHERE a.name_key = substr(label, 2) AND a.erased_at IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no-such-user: there is no account %. Correct the name.', substr(label, 2)
                USING ERRCODE = 'ZC002';
        ELSIF other.id = author.id THEN
            RAISE EXCEPTION 'not-allowed: a direct room is for two people. Name someone else.' USING ERRCODE = 'ZC003';
        ELSIF 'guest' IN (author.kind, other.kind) THEN
            RAISE EXCEPTION 'not-allowed: guests have no direct messages. Name a room.' USING ERRCODE = 'ZC003';
        END IF;
        wanted := '@' || least(author.id, other.id) || ':' || greatest(author.id, other.id);
    END IF;

    FOR attempt IN 1..3 LOOP
        -- Before everything else: a retry gets its number, whatever has happened since.
        IF given_id IS NOT NULL THEN
            SELECT e.seq, e.text, e.state, e.target_seq, r.name INTO known
            FROM __TABLES__.entry AS e JOIN __TABLES__.room AS r ON r.id = abs(e.room_id)
            WHERE e.author_id = author.id AND e.client_id = given_id;
            IF FOUND THEN
                IF known.name = wanted AND known.target_seq IS NOT DISTINCT FROM stored.reply_to
                    AND (known.text = said OR known.state IS NOT NULL)
                THEN
                    RETURN known.seq;
                END IF;
                RAISE EXCEPTION 'id-conflict: % used this id for another message. Use a new id for each message.',
                    called USING ERRCODE = 'ZC008';
            END IF;
        END IF;
        IF here IS NOT NULL THEN
            EXIT; -- the room is locked, and the id was not used meanwhile
        END IF;
        -- A statement of its own: the next ones see what was committed before the room was locked.
        SELECT r.id, r.kind, r.last_seq, r.pace_seconds, r.past_open INTO here
        FROM __TABLES__.room AS r WHERE r.name = wanted AND r.deleted_at IS NULL FOR NO KEY UPDATE;
        IF NOT FOUND AND direct AND attempt > 1 THEN
            PERFORM chat_v1.opened(author.id, other.id, wanted);
        ELSIF NOT FOUND AND direct THEN
            -- As servers do: nobody else opens the room, or blocks one of the two for the other.
            PERFORM pg_advisory_xact_lock(hashtextextended(wanted, 0));
        ELSIF NOT FOUND AND attempt > 1 THEN -- one that was deleted during the wait may have a successor
            RAISE EXCEPTION 'no-such-room: there is no room %. Create it, or correct the name.', wanted
                USING ERRCODE = 'ZC001';
        END IF;
    END LOOP;

    moment := clock_timestamp();
    PERFORM FROM __TABLES__.account AS a
    WHERE a.id = author.id AND a.disabled_at IS NULL AND a.erased_at IS NULL AND NOT EXISTS (
        SELECT FROM __TABLES__.ban AS b
        WHERE b.account_id = a.id AND b.room_id IS NULL AND (b.until IS NULL OR b.until > moment)
    );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not-allowed: the account % is disabled, erased or banned. Use another one.', called
            USING ERRCODE = 'ZC003';
    END IF;
    SELECT m.role, m.muted_until, m.blocked, m.joined_seq INTO member
    FROM __TABLES__.membership AS m WHERE m.room_id = here.id AND m.account_id = author.id AND m.left_seq IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not-a-member: % is not in %. Let it join first.', called, label USING ERRCODE = 'ZC004';
    ELSIF member.muted_until > moment THEN
        RAISE EXCEPTION 'muted: % is muted in %. Ask its moderators.', called, label USING ERRCODE = 'ZC005';
    ELSIF member.blocked THEN
        RAISE EXCEPTION 'blocked: % does not accept messages from %. Name someone else.', substr(label, 2), called
            USING ERRCODE = 'ZC010';
    ELSIF stored.reply_to IS NOT NULL AND NOT EXISTS (
        SELECT FROM __TABLES__.entry AS q
        WHERE q.room_id = here.id AND q.seq = stored.reply_to AND q.kind = 'message'
        AND q.state IS DISTINCT FROM 'erased'
        AND (here.kind <> 'private' OR here.past_open OR q.seq >= member.joined_seq)
    ) THEN
        RAISE EXCEPTION 'bad-command: there is no message % in % that % may answer. Name one of chat_v1.messages.',
            stored.reply_to, label, called USING ERRCODE = 'ZC009';
    ELSIF here.pace_seconds > 0 AND member.role = 'member' AND EXISTS (
        SELECT FROM __TABLES__.entry AS e
        WHERE e.room_id = here.id AND e.seq > here.last_seq - 1000 AND e.author_id = author.id
        AND e.kind IN ('message', 'edited', 'topic', 'reacted', 'unreacted', 'pinned', 'unpinned')
        AND e.at > moment - make_interval(secs => here.pace_seconds)
    ) THEN
        RAISE EXCEPTION 'slow-down: members of % may send a message every % s. Wait, or let % be a moderator.',
            label, here.pace_seconds, called USING ERRCODE = 'ZC006';
    END IF;

    UPDATE __TABLES__.room AS r
    SET last_seq = last_seq + 1, last_at = greatest(last_at, date_trunc('milliseconds', moment))
    WHERE r.id = here.id RETURNING r.last_seq, r.last_at INTO number, stamp;
    INSERT INTO __TABLES__.entry (room_id, seq, kind, author_id, text, client_id, at, target_seq)
    VALUES (here.id, number, 'message', author.id, said, given_id, stamp, stored.reply_to);
    INSERT INTO __TABLES__.change (kind, subject, at) VALUES ('post', here.id, stamp);
    RETURN number;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'id-conflict: % uses this id for another message at this moment. Use a new id for each message.',
        called USING ERRCODE = 'ZC008';
END $$
"""

# As `rooms.open_direct`, with the pair locked.
_OPENED = """
CREATE FUNCTION chat_v1.opened(author_id bigint, other_id bigint, room_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opened_id bigint;
BEGIN
    IF EXISTS (SELECT FROM __TABLES__.account AS a WHERE a.id = other_id AND a.disabled_at IS NOT NULL) THEN
        RAISE EXCEPTION 'no-such-user: the account to write to is disabled. Name someone else.' USING ERRCODE = 'ZC002';
    ELSIF EXISTS (SELECT FROM __TABLES__.block AS b WHERE b.account_id = other_id AND b.blocked_id = author_id) THEN
        RAISE EXCEPTION 'blocked: that account does not accept messages from the sender. Name someone else.'
            USING ERRCODE = 'ZC010';
    END IF;
    INSERT INTO __TABLES__.room (name, kind, created_by, created_at)
    VALUES (room_name, 'direct', author_id, date_trunc('milliseconds', clock_timestamp())) RETURNING id INTO opened_id;
    INSERT INTO __TABLES__.membership (room_id, account_id, joined_seq, blocked)
    SELECT opened_id, p.one, 0, EXISTS (
        SELECT FROM __TABLES__.block AS b WHERE b.account_id = p.two AND b.blocked_id = p.one)
    FROM (VALUES (author_id, other_id), (other_id, author_id)) AS p (one, two);
END $$
"""

# Servers look for changes a few numbers behind the last one that they have seen. A transaction may stay open for longer
# than that: the change gets its number when it commits. The sessions of the two people of a direct room may not
# subscribe to it yet.
_POSTED = """
CREATE OR REPLACE FUNCTION chat_v1.posted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO __TABLES__.change (kind, subject, at, detail)
    SELECT 'membership', m.account_id, NEW.at, m.room_id::text
    FROM __TABLES__.room AS r JOIN __TABLES__.membership AS m ON m.room_id = r.id
    WHERE r.id = NEW.subject AND r.kind = 'direct';
    UPDATE __TABLES__.change AS c SET id = DEFAULT, kind = 'room' WHERE c.id = NEW.id;
    NOTIFY chat_v1;
    RETURN NULL;
END $$
"""
_FUNCTIONS = {
    "stored(text, text, text, text, bigint)": _STORED,
    "opened(bigint, bigint, text)": _OPENED,
    "post(text, text, text, bigint, text)": _FORMS,
}


def _first() -> ModuleType:
    module: ModuleType = context.script.get_revision("0002").module
    return module


def upgrade() -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    tables = db.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    for name, query in _VIEWS.items():
        _run(db, f"CREATE OR REPLACE VIEW chat_v1.{name} WITH (security_barrier) AS {query.format(tables=tables)}")
    for name, text in _FUNCTIONS.items():
        _run(db, text.replace("__TABLES__", tables))
        _run(db, f"REVOKE EXECUTE ON FUNCTION chat_v1.{name} FROM PUBLIC")
    _run(db, _POSTED.replace("__TABLES__", tables))


def downgrade() -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    _run(db, "DROP FUNCTION chat_v1.post(text, text, text, bigint, text)")
    _run(db, "DROP VIEW chat_v1.reactions, chat_v1.pins")
    _run(db, "DROP TRIGGER chat_v1_posted ON change")
    _first().upgrade()
    for name in list(_FUNCTIONS)[:2]:
        _run(db, f"DROP FUNCTION chat_v1.{name}")


def _run(db: Connection, statement: str) -> None:
    db.exec_driver_sql(statement, execution_options={"no_parameters": True})
