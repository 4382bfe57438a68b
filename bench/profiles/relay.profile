# bench/relay.py: the first line names a room; every further one goes to all in it.
eol \n
send JOIN %Pr%r
wait JOINED
msg %p
echo yes
flow all
