"""Makes `chatserver` a word that twistd knows."""

import gc
from typing import Any

from twisted.application.service import ServiceMaker

from chatserver.util.exits import exit_on_signals


class ChatServiceMaker(ServiceMaker):
    """From the first moment on, stopping on request is no failure."""

    @property
    def options(self) -> Any:
        exit_on_signals()  # before the server's modules are loaded, which takes a while
        gc.disable()  # until it serves: what is loaded stays, and there is nothing to collect meanwhile
        return super().options


# twistd finds it by its interface, whatever its name.
chatserver = ChatServiceMaker("chatserver", "chatserver.tap", "A chat server for telnet and netcat.", "chatserver")
