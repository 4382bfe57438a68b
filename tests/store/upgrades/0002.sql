-- The server that stopped had a lease.
INSERT INTO node (name, boot, host, machine, pid, started, beat, acquired_at, heartbeat_at) VALUES
    ('main', '', 'host', 'boot pid:[1]', 4242, 99, 1000, '2026-01-01 08:00:00.000000', '2026-01-02 08:00:00.000000');
