"""A plain UDP reader in the daemon's place, and a way to wait for it."""

import json
import socket
import sys
import threading
import time


class Reader:
    """Keeps every datagram that comes, and hands each on to `then`.

    The socket has the system's default buffer, or one of `room` bytes.
    """

    def __init__(self, room=None, then=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.datagrams, self.then = [], then
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while (datagram := self.socket.recv(65536)) != b"stop":
            self.datagrams.append(datagram)
            if self.then:
                self.then(datagram)

    def documents(self):
        return [json.loads(body(datagram)) for datagram in list(self.datagrams)]

    def stop(self):
        """All documents that came before this call."""
        self.socket.sendto(b"stop", self.socket.getsockname())
        self.thread.join(10)
        return self.documents()


def body(datagram):
    """The document behind the header line."""
    header, _, document = datagram.partition(b"\n")
    assert json.loads(header) == {"format": "json", "version": 1}, header
    assert b"\n" not in document, document
    return document


def walk(documents):
    """Each segment and subsegment in `documents`."""
    waiting = list(documents)
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("subsegments", [])


def wait_for(what, ready, seconds=30):
    """The first answer of `ready` that is true."""
    until = time.monotonic() + seconds
    while not (answer := ready()):
        if time.monotonic() > until:
            sys.exit("waited in vain for " + what)
        time.sleep(0.02)
    return answer
