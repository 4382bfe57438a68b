-- The oldest entries of a room were removed, the id of a message among them is kept, and a certificate was added.
DELETE FROM entry WHERE room_id = 1 AND seq < 4;
UPDATE room SET first_seq = 4, keep_days = 365.5, keep_entries = 0 WHERE id = 1;
INSERT INTO entry (room_id, seq, kind, author_id, text, state, client_id, at) VALUES
    (-1, 3, 'spent', 2, '', 'erased', 'removed', '2026-01-01 08:00:02.000000');
INSERT INTO certificate (id, account_id, label, sha256, created_at) VALUES
    (1, 1, 'laptop', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '2026-01-01 08:00:00.000000');
