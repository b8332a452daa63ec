#!/usr/bin/env python3
"""Runs the storefront as its users do, and holds its last line to account.

usage: storefront.py PATH_TO_STOREFRONT
"""

import json
import os
import socket
import subprocess
import sys
import threading

STOREFRONT = sys.argv[1]


def run(requests, daemon=None, *more):
    """The lines it prints, and what it says became of its documents."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_XRAY_")}
    environment["RUST_BACKTRACE"] = "0"
    if daemon:
        environment["AWS_XRAY_DAEMON_ADDRESS"] = daemon
    command = [
        STOREFRONT, "--listen", "127.0.0.1:0", "--inventory", "127.0.0.1:0",
        "--requests", str(requests), *more,
    ]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return lines, json.loads(lines[-1])


class Reader:
    """A plain UDP reader with default buffers, as anybody would write it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.datagrams = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while (datagram := self.socket.recv(65536)) != b"stop":
            self.datagrams.append(datagram)

    def stop(self):
        host, port = self.address.split(":")
        self.socket.sendto(b"stop", (host, int(port)))
        self.thread.join(10)
        return self.datagrams


def shows_its_traces():
    lines, documents = run(50)
    assert documents["created"] == documents["sent"] > 0, documents
    assert documents["lost"] == {}, documents
    text = "\n".join(lines)
    for expected in [
        "/checkout/7  200", "inventory", "/missing  404  ERROR", "/throttled  429  ERROR  THROTTLE",
        "/fail  500  FAULT", "the order could not be paid", "the card was refused",
        "/panic  500  FAULT", "the shelf fell down", "/stream  200", "/big  200",
    ]:
        assert expected in text, expected
    assert "/health" not in text
    assert text.count("number=499}") == 6, "one /big a round"
    print("50 requests shown:", documents)


def loses_nothing_of_large_traces():
    reader = Reader()
    _, documents = run(400, reader.address)  # /big 50 times
    datagrams = reader.stop()
    assert documents["lost"] == {} and documents["created"] == documents["sent"], documents
    assert len(datagrams) == documents["sent"], (len(datagrams), documents)
    parts = 0
    for datagram in datagrams:
        header, _, body = datagram.partition(b"\n")
        assert json.loads(header) == {"format": "json", "version": 1}
        document = json.loads(body)
        assert b"\n" not in body and len(document["trace_id"]) == 35
        waiting = [document]
        while waiting:
            node = waiting.pop()
            parts += node["name"] == "part"
            waiting += node.get("subsegments", [])
    assert parts == 50 * 500, parts
    print("/big 50 times to a plain reader:", len(datagrams), "documents, none missing")


def balances_without_a_daemon():
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % silent.getsockname()[1]
    silent.close()
    for queue, reasons in [(4096, {"shutdown"}), (16, {"queue_full", "shutdown"})]:
        _, documents = run(40, address, "--queue", str(queue))
        lost = documents["lost"]
        assert documents["created"] == documents["sent"] + sum(lost.values()), documents
        assert set(lost) == reasons, documents
        print("without a daemon, a queue of", queue, "pieces:", documents)


shows_its_traces()
loses_nothing_of_large_traces()
balances_without_a_daemon()
