# chatserver, JSON Lines dialect: the accounts and memberships are in the database already (bench/fill.py).
# Login subscribes a client to its rooms. A sender receives its own entries too, and an answer to each command.
eol \n
send {"cmd":"login","token":"bench-%Pu%c","tag":1}
wait "tag":1
msg {"cmd":"say","room":"%Pr%r","text":"%p","tag":9}
ping {"event":"ping"
pong {"cmd":"ping"}
echo yes
flow all
fail "ok":false
err "ok":false
