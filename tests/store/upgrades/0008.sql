-- An account with a display name was renamed, a bot was added, and a message was pinned and reacted to.
UPDATE account SET display_name = 'Ana María', renamed_at = '2026-01-01 08:00:03.000000' WHERE id = 1;
INSERT INTO former_name (id, account_id, name, name_key, skeleton, display_name, until) VALUES
    (1, 1, 'anita', 'anita', 'anlta', NULL, '2026-01-01 08:00:03.000000');
INSERT INTO preference (account_id, name, value) VALUES (1, 'timezone', 'Europe/Berlin');
INSERT INTO ignore (account_id, ignored_id, at) VALUES (1, 2, '2026-01-01 08:00:00.000000');
