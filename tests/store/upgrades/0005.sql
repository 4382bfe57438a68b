-- The erasure of an account was interrupted.
INSERT INTO erasure (account_id, messages, taken_at) VALUES (4, true, '2026-01-01 09:00:00.000000');
