# chatserver without prepared accounts, for loading any server by hand: every client registers and joins.
eol \n
send {"cmd":"register","name":"u%x-%C","password":"benchmark-only","tag":1}
wait "tag":1
first send {"cmd":"create","room":"r%x-%r","tag":2}
first wait "tag":2
barrier
send {"cmd":"join","room":"r%x-%r","tag":3}
wait "tag":3
barrier
msg {"cmd":"say","room":"r%x-%r","text":"%p","tag":9}
ping {"event":"ping"
pong {"cmd":"ping"}
echo yes
flow all
fail "ok":false
err "ok":false
