# bench/relay.py: the first line names a room; every other line goes to all clients in it.
eol \n
send JOIN %Pr%r
wait JOINED
msg %p
echo yes
flow all
