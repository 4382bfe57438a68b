# IRC, as RFC 1459/2812 servers speak it.  A sender does not receive its own messages.
send NICK %Pu%C
send USER %Pu%C 0 * :u
wait " 001 "
send JOIN #%Proom%r
wait " 366 "
msg PRIVMSG #%Proom%r :%p
ping "PING "
pong PONG %s
eol \r\n
echo no
flow all
fail " 433 * "
fail " 451 * "
fail "ERROR "
err " 404 "
