-- Prosody for benchmarks: anonymous logins, no rate limits, group chat rooms with a message archive (MAM) in PostgreSQL.
daemonize = false
data_path = "@FOLDER@"
certificates = "@FOLDER@"
log = { warn = "@FOLDER@" .. "/prosody.log" }
interfaces = { "127.0.0.1" }
c2s_ports = { @PORT@ }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
modules_enabled = { "disco", "saslauth" }
modules_disabled = { "s2s", "tls", "offline" }
network_backend = "epoll"
network_settings = { tcp_backlog = 4096 }
storage = "memory"
sql = { driver = "PostgreSQL", host = "127.0.0.1", port = @PGPORT@, database = "prosody", username = "prosody", password = "prosody" }

VirtualHost "bench.test"
	authentication = "anonymous"

Component "rooms.bench.test" "muc"
	modules_enabled = { "muc_mam" }
	storage = { muc_log = "sql", archive = "sql" }
	muc_room_locking = false
	muc_log_by_default = true
	muc_log_presences = false
	max_history_messages = 20
