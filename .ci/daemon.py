#!/usr/bin/env python3
"""Sends the storefront's documents through AWS's own daemon into moto's X-Ray
API, and asks for them back.

usage: daemon.py PATH_TO_STOREFRONT
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

from service import Service, wait_for

STOREFRONT = sys.argv[1]
REQUESTS = 48


class Tap:
    """Passes datagrams on to the daemon, and keeps what it saw."""

    def __init__(self, to):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.to, self.documents = ("127.0.0.1", to), []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            datagram = self.socket.recv(65536)
            self.documents.append(json.loads(datagram.partition(b"\n")[2]))
            out.sendto(datagram, self.to)


def walk(document):
    waiting = [document]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("subsegments", [])


def come_back(service, documents):
    """What the API has of the traces of `documents`."""
    return service.documents(sorted({document["trace_id"] for document in documents}))


def main():
    with tempfile.TemporaryDirectory() as folder:
        service = Service(pathlib.Path(folder))
        try:
            tap = Tap(service.udp)
            environment = {
                **os.environ, "RUST_BACKTRACE": "0",
                "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{tap.port}",
            }
            done = subprocess.run(
                [STOREFRONT, "--listen", "127.0.0.1:0", "--inventory", "127.0.0.1:0",
                 "--requests", str(REQUESTS)],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                timeout=120, check=True)
            counts = json.loads(done.stdout.splitlines()[-1])
            assert counts["lost"] == {} and counts["created"] == counts["sent"], counts
            wait_for("the tap", lambda: len(tap.documents) == counts["sent"])
            ids = {document["id"] for document in tap.documents}
            missing = set()

            def arrived():
                nonlocal missing
                missing = ids - {document["id"] for document in come_back(service, tap.documents)}
                return not missing

            wait_for("all documents to come back", arrived, 60)
            sent = {node["id"]: node for document in tap.documents for node in walk(document)}
            back = {
                node["id"]: node
                for document in come_back(service, tap.documents) for node in walk(document)
            }
            for one in sent, back:
                for node in one.values():
                    node.pop("subsegments", None)
            assert back == sent, "what came back differs from what was sent"
            log = service.log.read_text()
            assert "Unprocessed" not in log, log
            print(f"{counts['sent']} documents, {len(sent)} segments and subsegments "
                  "through the daemon and back, all equal")
        finally:
            service.stop()


main()
