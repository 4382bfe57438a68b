-- What a server of revision 0001 leaves behind: people, rooms of each kind, a log with edits and an erased message.
INSERT INTO account (id, name, name_key, password_hash, kind, created_at, last_seen_at, disabled_at, erased_at) VALUES
    (1, 'Ana', 'ana', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA', 'operator', '2026-01-01 08:00:00.000000', '2026-01-02 08:00:00.123000', NULL, NULL),
    (2, 'bob', 'bob', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA', 'person', '2026-01-01 08:00:01.000000', '2026-01-02 08:00:00.123000', NULL, NULL),
    (3, '~3', '~3', '', 'guest', '2026-01-01 08:00:02.000000', NULL, '2026-01-01 08:30:00.000000', NULL),
    (4, 'erased-4', 'carla', NULL, 'person', '2026-01-01 08:00:03.000000', NULL, NULL, '2026-01-01 09:00:00.000000');

INSERT INTO room (id, name, kind, topic, last_seq, created_by, created_at, deactivated_at, deleted_at, past_open, invites) VALUES
    (1, 'general', 'public', 'Übersicht — 概要', 11, NULL, '2026-01-01 07:59:59.000000', NULL, NULL, false, 'members'),
    (2, 'books', 'private', '', 3, 1, '2026-01-01 08:10:00.000000', NULL, NULL, true, 'moderators'),
    (3, 'old', 'public', '', 2, 2, '2026-01-01 08:11:00.000000', NULL, '2026-01-01 08:12:00.000000', false, 'members'),
    (4, '@1:2', 'direct', '', 1, 2, '2026-01-01 08:13:00.000000', NULL, NULL, false, 'members'),
    (5, 'silent', 'public', '', 0, NULL, '2026-01-01 07:59:59.000000', NULL, NULL, false, 'members');

INSERT INTO membership (id, room_id, account_id, role, joined_seq, left_seq, read_seq, muted_until, blocked) VALUES
    (1, 1, 1, 'member', 1, NULL, 11, NULL, false),
    (2, 1, 2, 'member', 2, NULL, 5, '2026-01-01 08:59:00.000000', false),
    (3, 1, 3, 'member', 3, 6, 3, NULL, false),
    (4, 2, 1, 'owner', 1, NULL, 3, NULL, false),
    (5, 2, 2, 'member', 2, NULL, 2, NULL, false),
    (6, 3, 2, 'owner', 1, 2, 1, NULL, false),
    (7, 4, 1, 'member', 0, NULL, 0, NULL, true),
    (8, 4, 2, 'member', 0, NULL, 1, NULL, false);

INSERT INTO entry (room_id, seq, kind, author_id, text, target_seq, target_id, state, client_id, at) VALUES
    (1, 1, 'joined', 1, '', NULL, NULL, NULL, NULL, '2026-01-01 08:00:00.000000'),
    (1, 2, 'joined', 2, '', NULL, NULL, NULL, NULL, '2026-01-01 08:00:01.000000'),
    (1, 3, 'joined', 3, '', NULL, NULL, NULL, NULL, '2026-01-01 08:00:02.000000'),
    (1, 4, 'message', 1, 'Grüße, 世界! \ "quoted" it''s', NULL, NULL, NULL, 'first', '2026-01-01 08:01:00.123000'),
    (1, 5, 'message', 2, 'corrected words', NULL, NULL, 'edited', NULL, '2026-01-01 08:01:01.000000'),
    (1, 6, 'left', 3, '', NULL, NULL, NULL, NULL, '2026-01-01 08:01:02.000000'),
    (1, 7, 'edited', 2, 'corrected words', 5, NULL, NULL, NULL, '2026-01-01 08:01:03.000000'),
    (1, 8, 'message', 4, '', NULL, NULL, 'erased', 'gone', '2026-01-01 08:01:04.000000'),
    (1, 9, 'erased', 1, '', 8, NULL, NULL, NULL, '2026-01-01 08:01:05.000000'),
    (1, 10, 'muted', 1, '2026-01-01T08:59:00.000Z', NULL, 2, NULL, NULL, '2026-01-01 08:01:06.000000'),
    (1, 11, 'topic', 1, 'Übersicht — 概要', NULL, NULL, NULL, NULL, '2026-01-01 08:01:07.000000'),
    (2, 1, 'created', 1, '', NULL, NULL, NULL, NULL, '2026-01-01 08:10:00.000000'),
    (2, 2, 'joined', 2, '', NULL, NULL, NULL, NULL, '2026-01-01 08:10:01.000000'),
    (2, 3, 'set', 1, 'past=open,invites=moderators', NULL, NULL, NULL, NULL, '2026-01-01 08:10:02.000000'),
    (3, 1, 'created', 2, '', NULL, NULL, NULL, NULL, '2026-01-01 08:11:00.000000'),
    (3, 2, 'deleted', 2, '', NULL, NULL, NULL, NULL, '2026-01-01 08:12:00.000000'),
    (4, 1, 'message', 2, 'between us', NULL, NULL, NULL, 'd1', '2026-01-01 08:13:00.000000');

INSERT INTO session (id, account_id, node, address, connected_at, disconnected_at, reason) VALUES
    ('00000000000000000000000000000001', 1, 'main', '192.0.2.1', '2026-01-01 08:00:00.000000', '2026-01-01 09:00:00.000000', 'quit'),
    ('00000000000000000000000000000002', 4, 'main', '', '2026-01-01 08:00:00.000000', '2026-01-01 09:00:00.000000', 'crash');

INSERT INTO token (id, account_id, label, sha256, created_at, last_used_at, revoked_at) VALUES
    (1, 1, 'build', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '2026-01-01 08:00:00.000000', NULL, NULL),
    (2, 2, 'old', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', '2026-01-01 08:00:00.000000', NULL, '2026-01-01 09:00:00.000000');

INSERT INTO invitation (account_id, room_id, invited_by, at) VALUES (2, 5, 1, '2026-01-01 08:20:00.000000');
INSERT INTO block (account_id, blocked_id, at) VALUES (2, 1, '2026-01-01 08:21:00.000000');
INSERT INTO ban (id, account_id, network, room_id, until, reason, "by", at) VALUES
    (1, 2, NULL, 5, NULL, 'enough', 1, '2026-01-01 08:22:00.000000'),
    (2, NULL, '2001:db8::/64', NULL, '2030-01-01 00:00:00.000000', '', NULL, '2026-01-01 08:23:00.000000');
INSERT INTO change (id, kind, subject, at) VALUES (1, 'bans', 0, '2026-01-01 08:23:00.000000');
