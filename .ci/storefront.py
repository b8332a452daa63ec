#!/usr/bin/env python3
"""Runs the storefront as its users do, and holds its last line to account.

usage: storefront.py PATH_TO_STOREFRONT
"""

import socket
import sys

import storefront_process
from reader import Reader, walk

STOREFRONT = sys.argv[1]


def run(*arguments):
    return storefront_process.run(STOREFRONT, *arguments)


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
    reader = Reader()  # with the default buffer, as anybody would write it
    _, books = run(400, reader.address)  # /big 50 times
    documents = reader.stop()
    assert books["lost"] == {} and books["created"] == books["sent"], books
    assert len(documents) == books["sent"], (len(documents), books)
    assert all(len(document["trace_id"]) == 35 for document in documents)
    parts = [node["name"] for node in walk(documents)].count("part")
    assert parts == 50 * 500, parts
    print("/big 50 times to a plain reader:", len(documents), "documents, none missing")


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
