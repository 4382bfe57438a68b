-- Accounts are created with a skeleton; there are limits, slow rooms, and tokens that may do less.
UPDATE account SET skeleton = 'ana' WHERE id = 1;
UPDATE account SET skeleton = 'bob', commands_per_second = 0.5, bytes_per_second = 1000, connections = 3 WHERE id = 2;
UPDATE account SET skeleton = 'carla' WHERE id = 4;
UPDATE room SET pace_seconds = 30 WHERE id = 5;
INSERT INTO token (id, account_id, label, sha256, created_at, expires_at, read_only, room_id) VALUES
    (3, 1, 'status', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', '2026-01-01 08:00:00.000000', '2030-01-01 00:00:00.000000', true, 1);
