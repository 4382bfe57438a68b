-- An account with a display name was renamed, a bot was added, and a message was pinned and reacted to. Somebody has
-- seen something behind their read mark.
UPDATE account SET display_name = 'Ana María', renamed_at = '2026-01-01 08:00:03.000000' WHERE id = 1;
INSERT INTO former_name (id, account_id, name, name_key, skeleton, display_name, until) VALUES
    (1, 1, 'anita', 'anita', 'anlta', NULL, '2026-01-01 08:00:03.000000');
INSERT INTO preference (account_id, name, value) VALUES (1, 'timezone', 'Europe/Berlin');
INSERT INTO ignore (account_id, ignored_id, at) VALUES (1, 2, '2026-01-01 08:00:00.000000');
INSERT INTO entry (room_id, seq, kind, author_id, text, target_seq, client_id, at) VALUES
    (4, 2, 'reacted', 1, '+1', 1, NULL, '2026-01-01 08:13:01.000000'),
    (4, 3, 'pinned', 2, '', 1, NULL, '2026-01-01 08:13:02.000000'),
    (4, 4, 'message', 1, 'indeed', 1, 'd2', '2026-01-01 08:13:03.000000');
UPDATE entry SET reactions = '{"+1":1}', pinned = true WHERE room_id = 4 AND seq = 1;
UPDATE room SET last_seq = 4, last_at = '2026-01-01 08:13:03.000000' WHERE id = 4;
UPDATE membership SET seen = '[[3,4]]' WHERE room_id = 4 AND account_id = 1 AND left_seq IS NULL;
