"""Makes `chatserver` a word that twistd knows."""

from twisted.application.service import ServiceMaker

# twistd finds it by its interface, whatever its name.
chatserver = ServiceMaker("chatserver", "chatserver.tap", "A chat server for telnet and netcat.", "chatserver")
