# chatserver, JSON Lines dialect: accounts and memberships that the database has already (bench/fill.py).
# Login lets a client hear its rooms. A sender gets its own entries too, and an answer for each.
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
