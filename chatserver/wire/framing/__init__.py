"""Bytes to lines and back: plain lines, telnet, WebSocket, the PROXY header."""
