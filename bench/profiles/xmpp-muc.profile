# XMPP group chat (XEP-0045) over a plain connection, SASL ANONYMOUS.
# A '>' ends a "line", so the text of a body begins a line.
# A room also sends each message back to its sender.
frame line
delim ">"
eol ""
send <?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='bench.test' version='1.0'>
wait </stream:features
send <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>
wait <success
send <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='bench.test' version='1.0'>
wait </stream:features
send <iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>
wait </jid
send <presence to='%Proom%r@rooms.bench.test/%Pu%C'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>
wait code='110'
msg <message to='%Proom%r@rooms.bench.test' type='groupchat' id='m%n'><body>%p</body></message>
echo yes
flow all
fail <failure
fail type='error'
err type='error'
