"""The parts of the server that a connection uses."""

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from chatserver.background.read_marks import ReadMarks
from chatserver.delivery.registry import Registry
from chatserver.login.entrance import Departures
from chatserver.login.handshake import Handshake
from chatserver.net.connection.log import ConnectionLog
from chatserver.net.connection.parting import Parting
from chatserver.net.counts import ConnectionCounts
from chatserver.net.limits.account_share import Allowances
from chatserver.net.limits.admission import Admission
from chatserver.pipeline.processor import Processors
from chatserver.settings.tables import Limits, Shutdown
from chatserver.sync.lease import Lease
from chatserver.wire.dialect import Dialect
from chatserver.wire.dialects import DIALECTS


class Parts(Struct, frozen=True):
    """All connections share one."""

    # Of the whole server
    clock: IReactorTime
    limits: Limits
    shutdown: Shutdown
    handshake: Handshake
    processors: Processors
    registry: Registry
    marks: ReadMarks
    lease: Lease
    departures: Departures
    # Of connections alone
    admission: Admission
    allowances: Allowances
    counts: ConnectionCounts
    log: ConnectionLog
    parting: Parting
    dialects: tuple[Dialect, ...] = DIALECTS
    """The dialects in the order in which they are tried. The last one is for people, and takes everything."""
