"""The schema chat_v1 on PostgreSQL: what other applications may read, and a function with which they post messages.

docs/sql.md describes it. Its views and the function stay as they are when the tables change: a revision that changes a
table replaces their definitions (CREATE OR REPLACE keeps the rights that were granted), and raises `minor` if it adds
something. Breaking changes go into another schema, chat_v2, beside this one.

Nothing here may name a table or a function that is looked up in a schema where others can create things: the functions
run with the rights of the tables' owner.
"""

from alembic import op
from sqlalchemy import Connection

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Nothing that servers use changes.
ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

_MAY_CREATE = """
DO $$
BEGIN
    IF to_regnamespace('chat_v1') IS NULL THEN
        IF NOT has_database_privilege(current_database(), 'CREATE') THEN
            RAISE EXCEPTION 'the role % may not create the schema chat_v1. As the owner of the database: '
                'GRANT CREATE ON DATABASE % TO %', current_user, quote_ident(current_database()),
                quote_ident(current_user) USING ERRCODE = 'insufficient_privilege';
        END IF;
        CREATE SCHEMA chat_v1;
    END IF;
END $$
"""

# A barrier keeps others' conditions from being tried on rows that the view leaves out.
_VIEWS = {
    "version": "SELECT 1 AS major, 1 AS minor",
    "rooms": """
        SELECT r.id, r.name::text AS name, r.kind::text AS kind, r.topic, r.first_seq, r.last_seq, r.last_at,
               a.name::text AS created_by, r.created_at
        FROM {tables}.room AS r LEFT JOIN {tables}.account AS a ON a.id = r.created_by
        WHERE r.kind IN ('public', 'private') AND r.deleted_at IS NULL
    """,
    "members": """
        SELECT r.id AS room_id, r.name::text AS room, a.name::text AS name, a.kind::text AS kind, m.role::text AS role,
               m.joined_seq, m.muted_until
        FROM {tables}.membership AS m JOIN {tables}.room AS r ON r.id = m.room_id
        JOIN {tables}.account AS a ON a.id = m.account_id
        WHERE m.left_seq IS NULL AND r.kind IN ('public', 'private') AND r.deleted_at IS NULL
    """,
    "messages": """
        SELECT e.room_id, r.name::text AS room, e.seq, e.at, a.name::text AS sender,
               CASE WHEN e.state = 'erased' THEN NULL ELSE e.text END AS text, e.state::text AS state,
               e.target_seq AS reply_to
        FROM {tables}.entry AS e JOIN {tables}.room AS r ON r.id = e.room_id
        LEFT JOIN {tables}.account AS a ON a.id = e.author_id
        WHERE e.kind = 'message' AND r.kind IN ('public', 'private') AND r.deleted_at IS NULL
    """,
    "sessions": """
        SELECT s.id::text AS id, a.name::text AS name, s.node::text AS node, s.address::text AS address, s.connected_at,
               s.disconnected_at, s.reason
        FROM {tables}.session AS s JOIN {tables}.account AS a ON a.id = s.account_id
    """,
}

# chatserver.wire.hygiene.invisible and .text in SQL. PostgreSQL's regular expressions know the same escapes.
_EMOJI = (
    r"[\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf-\u23fa\u24c2\u25aa-\u25fe"
    r"\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_SELECTED = r"[#*0-9\u00a9\u00ae]\ufe0f|[\u3400-\u9fff\U00020000-\U0003ffff][\U000e0100-\U000e01ef]"
_INVISIBLE = (
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    r"\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe-\U0010ffff]"
)
_PARSED = rf"((?:{_EMOJI}[\ufe0e\ufe0f]?(?:\u200d{_EMOJI}[\ufe0e\ufe0f]?)*)+|{_SELECTED})|{_INVISIBLE}"
_MARKS = """
    300-36f 483-489 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 610-61a 64b-65f 670 6d6-6dc 6df-6e4 6e7-6e8 6ea-6ed 711 730-74a
    7a6-7b0 7eb-7f3 7fd 816-819 81b-823 825-827 829-82d 859-85b 898-89f 8ca-8e1 8e3-902 93a 93c 941-948 94d 951-957
    962-963 981 9bc 9c1-9c4 9cd 9e2-9e3 9fe a01-a02 a3c a41-a42 a47-a48 a4b-a4d a51 a70-a71 a75 a81-a82 abc ac1-ac5
    ac7-ac8 acd ae2-ae3 afa-aff b01 b3c b3f b41-b44 b4d b55-b56 b62-b63 b82 bc0 bcd c00 c04 c3c c3e-c40 c46-c48
    c4a-c4d c55-c56 c62-c63 c81 cbc cbf cc6 ccc-ccd ce2-ce3 d00-d01 d3b-d3c d41-d44 d4d d62-d63 d81 dca dd2-dd4 dd6
    e31 e34-e3a e47-e4e eb1 eb4-ebc ec8-ecd f18-f19 f35 f37 f39 f71-f7e f80-f84 f86-f87 f8d-f97 f99-fbc fc6 102d-1030
    1032-1037 1039-103a 103d-103e 1058-1059 105e-1060 1071-1074 1082 1085-1086 108d 109d 135d-135f 1712-1715
    1732-1734 1752-1753 1772-1773 17b4-17b5 17b7-17bd 17c6 17c9-17d3 17dd 180b-180d 180f 1885-1886 18a9 1920-1922
    1927-1928 1932 1939-193b 1a17-1a18 1a1b 1a56 1a58-1a5e 1a60 1a62 1a65-1a6c 1a73-1a7c 1a7f 1ab0-1ace 1b00-1b03
    1b34 1b36-1b3a 1b3c 1b42 1b44 1b6b-1b73 1b80-1b81 1ba2-1ba5 1ba8-1bad 1be6 1be8-1be9 1bed 1bef-1bf3 1c2c-1c33
    1c36-1c37 1cd0-1cd2 1cd4-1ce0 1ce2-1ce8 1ced 1cf4 1cf8-1cf9 1dc0-1dff 20d0-20f0 2cef-2cf1 2d7f 2de0-2dff
    302a-302f 3099-309a a66f-a672 a674-a67d a69e-a69f a6f0-a6f1 a802 a806 a80b a825-a826 a82c a8c4-a8c5 a8e0-a8f1
    a8ff a926-a92d a947-a951 a953 a980-a982 a9b3 a9b6-a9b9 a9bc-a9bd a9c0 a9e5 aa29-aa2e aa31-aa32 aa35-aa36 aa43
    aa4c aa7c aab0 aab2-aab4 aab7-aab8 aabe-aabf aac1 aaec-aaed aaf6 abe5 abe8 abed fb1e fe00-fe0f fe20-fe2f 101fd
    102e0 10376-1037a 10a01-10a03 10a05-10a06 10a0c-10a0f 10a38-10a3a 10a3f 10ae5-10ae6 10d24-10d27 10eab-10eac
    10f46-10f50 10f82-10f85 11001 11038-11046 11070 11073-11074 1107f-11081 110b3-110b6 110b9-110ba 110c2 11100-11102
    11127-1112b 1112d-11134 11173 11180-11181 111b6-111be 111c0 111c9-111cc 111cf 1122f-11231 11234-11237 1123e 112df
    112e3-112ea 11300-11301 1133b-1133c 11340 1134d 11366-1136c 11370-11374 11438-1143f 11442-11444 11446 1145e
    114b3-114b8 114ba 114bf-114c0 114c2-114c3 115b2-115b5 115bc-115bd 115bf-115c0 115dc-115dd 11633-1163a 1163d
    1163f-11640 116ab 116ad 116b0-116b7 1171d-1171f 11722-11725 11727-1172b 1182f-11837 11839-1183a 1193b-1193e 11943
    119d4-119d7 119da-119db 119e0 11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b 11a8a-11a96
    11a98-11a99 11c30-11c36 11c38-11c3d 11c3f 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a
    11d3c-11d3d 11d3f-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 16af0-16af4 16b30-16b36 16f4f 16f8f-16f92 16fe4
    16ff0-16ff1 1bc9d-1bc9e 1cf00-1cf2d 1cf30-1cf46 1d165-1d169 1d16d-1d172 1d17b-1d182 1d185-1d18b 1d1aa-1d1ad
    1d242-1d244 1da00-1da36 1da3b-1da6c 1da75 1da84 1da9b-1da9f 1daa1-1daaf 1e000-1e006 1e008-1e018 1e01b-1e021
    1e023-1e024 1e026-1e02a 1e130-1e136 1e2ae 1e2ec-1e2ef 1e8d0-1e8d6 1e944-1e94a
"""
"""Non-starters, and marks that take no width, as ranges of code points."""
_MARK = "[" + "".join("-".join(f"\\U{int(code, 16):08x}" for code in run.split("-")) for run in _MARKS.split()) + "]"

_CLEANED = r"""
CREATE OR REPLACE FUNCTION chat_v1.cleaned(given text, what text, lines boolean) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept text := given;
    control text;
BEGIN
    IF octet_length(kept) > 65536 THEN
        RAISE EXCEPTION 'too-long: % is far too long. Shorten it.', what USING ERRCODE = 'ZC007';
    END IF;
    IF lines THEN
        kept := replace(replace(kept, E'\r\n', E'\n'), E'\r', E'\n');
    END IF;
    IF kept ~ '[^ -~]' THEN
        IF kept ~ '[^\x01-\x7f]' THEN
            kept := regexp_replace(kept, '__PARSED__', '\1', 'g');
            kept := translate(kept, U&'\2028\2029', '  ');
            IF kept ~ '__MARK__{31}' OR normalize(kept, NFD) ~ '__MARK__{31}' THEN
                RAISE EXCEPTION 'bad-command: a letter of % carries more than 30 accents or other marks. '
                    'Remove some.', what USING ERRCODE = 'ZC007';
            END IF;
            kept := normalize(kept, NFC);
        END IF;
        kept := translate(kept, E'\t', ' ');
        control := substring(CASE WHEN lines THEN replace(kept, E'\n', '') ELSE kept END FROM '[\x01-\x1f\x7f-\x9f]');
        IF control IS NOT NULL THEN
            RAISE EXCEPTION 'bad-command: % contains the control character U+%. Remove it.', what,
                lpad(upper(to_hex(ascii(control))), 4, '0') USING ERRCODE = 'ZC007';
        END IF;
    END IF;
    RETURN kept;
END $$
"""

_POST = r"""
CREATE OR REPLACE FUNCTION chat_v1.post(room text, sender text, message text, id text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text := lower(regexp_replace(post.room, '^#', '') COLLATE "C");
    called text := post.sender;
    said text;
    given_id text;
    sender_id bigint;
    known record;
    here record;
    member record;
    moment timestamptz;
    number bigint;
    stamp timestamptz;
BEGIN
    IF post.room LIKE '@%' THEN
        RAISE EXCEPTION 'direct-room: chat_v1.post is for rooms, not for direct messages. Name a room.'
            USING ERRCODE = 'ZC001';
    ELSIF wanted IS NULL OR wanted !~ '^[a-z0-9][a-z0-9_-]{0,63}$' THEN
        RAISE EXCEPTION 'bad-name: this is no name of a room. Name one as in chat_v1.rooms, with or without #.'
            USING ERRCODE = 'ZC001';
    ELSIF called IS NULL OR called !~ '^(~[0-9]{1,18}|[A-Za-z][A-Za-z0-9_-]{0,31})$' THEN
        RAISE EXCEPTION 'bad-name: this is no name of an account. Name the account that posts.'
            USING ERRCODE = 'ZC002';
    END IF;
    said := regexp_replace(chat_v1.cleaned(post.message, 'the message', true),
                           '[ \n\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+$', '');
    IF said IS NULL OR said = '' THEN
        RAISE EXCEPTION 'empty: the message is empty. Post some text.' USING ERRCODE = 'ZC007';
    ELSIF length(said) > 4096 THEN
        RAISE EXCEPTION 'too-long: a message can have at most 4096 characters; this one has %. Shorten it.',
            length(said) USING ERRCODE = 'ZC007';
    ELSIF length(said) - length(replace(said, E'\n', '')) > 99 THEN
        RAISE EXCEPTION 'too-long: a message can have at most 100 lines. Shorten it.' USING ERRCODE = 'ZC007';
    END IF;
    given_id := chat_v1.cleaned(post.id, 'the id', false);
    IF length(given_id) NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION 'bad-command: an id has from 1 to 64 characters. Choose another one, or NULL.'
            USING ERRCODE = 'ZC007';
    END IF;

    SELECT a.id INTO sender_id FROM __TABLES__.account AS a WHERE a.name_key = lower(called COLLATE "C");
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no-such-user: there is no account %. Create it: chatctl user add %', called, called
            USING ERRCODE = 'ZC002';
    END IF;

    FOR attempt IN 1..3 LOOP
        -- Before everything else: a retry gets its number, whatever has happened since.
        IF given_id IS NOT NULL THEN
            SELECT e.seq, e.text, e.state, r.name INTO known
            FROM __TABLES__.entry AS e JOIN __TABLES__.room AS r ON r.id = abs(e.room_id)
            WHERE e.author_id = sender_id AND e.client_id = given_id;
            IF FOUND THEN
                IF known.name = wanted AND (known.text = said OR known.state IS NOT NULL) THEN
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
        SELECT r.id, r.last_seq, r.pace_seconds INTO here
        FROM __TABLES__.room AS r WHERE r.name = wanted AND r.deleted_at IS NULL FOR NO KEY UPDATE;
        IF NOT FOUND AND attempt > 1 THEN -- one that was deleted during the wait may have a successor
            RAISE EXCEPTION 'no-such-room: there is no room %. Create it, or correct the name.', wanted
                USING ERRCODE = 'ZC001';
        END IF;
    END LOOP;

    moment := clock_timestamp();
    PERFORM FROM __TABLES__.account AS a
    WHERE a.id = sender_id AND a.disabled_at IS NULL AND a.erased_at IS NULL AND NOT EXISTS (
        SELECT FROM __TABLES__.ban AS b
        WHERE b.account_id = a.id AND b.room_id IS NULL AND (b.until IS NULL OR b.until > moment)
    );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not-allowed: the account % is disabled, erased or banned. Use another one.', called
            USING ERRCODE = 'ZC003';
    END IF;
    SELECT m.role, m.muted_until INTO member
    FROM __TABLES__.membership AS m WHERE m.room_id = here.id AND m.account_id = sender_id AND m.left_seq IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not-a-member: % is not in %. Let it join first.', called, wanted USING ERRCODE = 'ZC004';
    ELSIF member.muted_until > moment THEN
        RAISE EXCEPTION 'muted: % is muted in %. Ask its moderators.', called, wanted USING ERRCODE = 'ZC005';
    ELSIF here.pace_seconds > 0 AND member.role = 'member' AND EXISTS (
        SELECT FROM __TABLES__.entry AS e
        WHERE e.room_id = here.id AND e.seq > here.last_seq - 1000 AND e.author_id = sender_id AND e.kind = 'message'
        AND e.at > moment - make_interval(secs => here.pace_seconds)
    ) THEN
        RAISE EXCEPTION 'slow-down: members of % may send a message every % s. Wait, or let % be a moderator.',
            wanted, here.pace_seconds, called USING ERRCODE = 'ZC006';
    END IF;

    UPDATE __TABLES__.room AS r
    SET last_seq = last_seq + 1, last_at = greatest(last_at, date_trunc('milliseconds', moment))
    WHERE r.id = here.id RETURNING r.last_seq, r.last_at INTO number, stamp;
    INSERT INTO __TABLES__.entry (room_id, seq, kind, author_id, text, client_id, at)
    VALUES (here.id, number, 'message', sender_id, said, given_id, stamp);
    INSERT INTO __TABLES__.change (kind, subject, at) VALUES ('post', here.id, stamp);
    RETURN number;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'id-conflict: % uses this id for another message at this moment. Use a new id for each message.',
        called USING ERRCODE = 'ZC008';
END $$
"""

# Servers look for changes a few numbers behind the last one that they have seen. A transaction may stay open for longer
# than that: the change gets its number when it commits.
_POSTED = """
CREATE OR REPLACE FUNCTION chat_v1.posted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE __TABLES__.change AS c SET id = DEFAULT, kind = 'room' WHERE c.id = NEW.id;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE CONSTRAINT TRIGGER chat_v1_posted AFTER INSERT ON __TABLES__.change DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.kind = 'post') EXECUTE FUNCTION chat_v1.posted()
"""
_FUNCTIONS = ("post(text, text, text, text)", "cleaned(text, text, boolean)", "posted()")


def upgrade() -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    tables = db.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    _run(db, _MAY_CREATE)
    for name, query in _VIEWS.items():
        _run(db, f"CREATE OR REPLACE VIEW chat_v1.{name} WITH (security_barrier) AS {query.format(tables=tables)}")
    for function in (_CLEANED, _POST, _POSTED, _TRIGGER):
        text = function.replace("__PARSED__", _PARSED).replace("__MARK__", _MARK).replace("__TABLES__", tables)
        _run(db, text)
    for name in _FUNCTIONS:
        _run(db, f"REVOKE EXECUTE ON FUNCTION chat_v1.{name} FROM PUBLIC")


def downgrade() -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    tables = db.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    _run(db, f"DROP TRIGGER chat_v1_posted ON {tables}.change")
    for name in _FUNCTIONS:
        _run(db, f"DROP FUNCTION chat_v1.{name}")
    for name in _VIEWS:
        _run(db, f"DROP VIEW chat_v1.{name}")
    _run(db, "DROP SCHEMA chat_v1")


def _run(db: Connection, statement: str) -> None:
    db.exec_driver_sql(statement, execution_options={"no_parameters": True})
