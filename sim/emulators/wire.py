"""Loopback TCP ports served by one thread, with what can go wrong between a controller and its client."""

import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from sim.emulators.faults import FaultInjector

_MAX_UNREAD = 1 << 20  # bytes kept for a client that does not read; then the oldest are lost, as a controller does


class Connection:
    """A client. `tag` is the handler's own."""

    def __init__(self, wire: "Wire", client: socket.socket, port: int) -> None:
        self.port = port
        self.open = True
        self.tag: object = None
        self._wire = wire
        self.socket = client
        self.waiting: deque[tuple[float, bytes]] = deque()  # (due, bytes)
        self.unread = 0

    def send(self, data: bytes) -> None:
        """Sends one whole reply, through the faults of the moment."""
        wire, due = self._wire, self._wire.clock()
        faults = wire.faults
        if not self.open or faults.strike("lost"):
            return
        late = faults.strike("late")
        if late:
            due += late.delay
        if faults.strike("corrupt"):
            at = wire.random.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << wire.random.randrange(8))]) + data[at + 1 :]
        if faults.strike("truncated"):
            data = data[: wire.random.randrange(len(data))]
        if self.waiting:
            due = max(due, self.waiting[-1][0])  # TCP keeps the order
        if self.unread + len(data) > _MAX_UNREAD:
            return
        self.waiting.append((due, data))
        self.unread += len(data)
        wire.flush(self)

    def close(self) -> None:
        self._wire.drop(self)


Received = Callable[[Connection, bytes], None]


class Wire:
    """All ports of one controller. While a fault "unplug" lasts nothing goes in or out, and connections are gone when it ends."""

    def __init__(self, address: str, faults: FaultInjector, clock: Callable[[], float] = time.monotonic) -> None:
        self.faults = faults
        self.clock = clock
        self.random = random.Random(0)
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._ports: dict[int, tuple[Received, Callable[[Connection], None] | None]] = {}
        self._listeners: list[socket.socket] = []
        self.connections: list[Connection] = []
        self._unplugged = False

    def serve(self, port: int, received: Received, opened: Callable[[Connection], None] | None = None) -> None:
        self._ports[port] = (received, opened)
        self._listen(port)

    def watch(self, end: socket.socket | object, heard: Callable[[], None]) -> None:
        """Calls `heard` when there is something to read at `end`."""
        self._selector.register(end, selectors.EVENT_READ, heard)  # type: ignore[arg-type]

    def step(self, timeout: float) -> None:
        """Serves what there is, for at most `timeout` seconds when there is nothing."""
        self._plug()
        for key, _ in self._selector.select(max(0.0, timeout)):
            if isinstance(key.data, Connection):
                self._read(key.data)
            else:
                key.data()
        for connection in list(self.connections):
            self.flush(connection)

    def flush(self, connection: Connection) -> None:
        now = self.clock()
        while connection.open and not self._unplugged and connection.waiting and connection.waiting[0][0] <= now:
            due, data = connection.waiting[0]
            try:
                sent = connection.socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                self.drop(connection)
                return
            connection.unread -= sent
            if sent < len(data):
                connection.waiting[0] = (due, data[sent:])
                return
            connection.waiting.popleft()

    def drop(self, connection: Connection) -> None:
        if connection.open:
            connection.open = False
            if not self._unplugged:
                self._selector.unregister(connection.socket)
            connection.socket.close()
            self.connections.remove(connection)

    def close(self) -> None:
        for connection in list(self.connections):
            self.drop(connection)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._selector.close()

    def _listen(self, port: int) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._address, port))
        listener.listen()
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener, port))

    def _accept(self, listener: socket.socket, port: int) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, client, port)
        self.connections.append(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)
        opened = self._ports[port][1]
        if opened:
            opened(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(connection)
            return
        self._ports[connection.port][0](connection, data)

    def _plug(self) -> None:
        unplugged = self.faults.lasts("unplug") is not None
        if unplugged and not self._unplugged:
            self._unplugged = True
            for connection in self.connections:
                self._selector.unregister(connection.socket)
            for listener in self._listeners:
                self._selector.unregister(listener)
                listener.close()
            self._listeners.clear()
        elif self._unplugged and not unplugged:
            for connection in list(self.connections):
                self.drop(connection)
            self._unplugged = False
            for port in self._ports:
                self._listen(port)
