#!/usr/bin/env python3
"""Runs the storefront as its users do, and holds its last line to account.

usage: storefront.py PATH_TO_STOREFRONT
"""

import contextlib
import http.client
import http.server
import socket
import sys
import threading

import storefront_process
from reader import Reader, walk, wait_for

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


class SlowInventory(http.server.ThreadingHTTPServer):
    """Answers no request before `answer` is set."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.asked, self.answer = threading.Semaphore(0), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.release()
            self.server.answer.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass


def ends_after_its_last_request():
    """SIGTERM comes while 15 requests run. All are answered, and traced."""
    reader, inventory = Reader(), SlowInventory()
    url = f"http://127.0.0.1:{inventory.server_port}"
    with contextlib.closing(
            storefront_process.Serving(STOREFRONT, reader.address, "--inventory-url", url)
    ) as storefront:
        clients = [http.client.HTTPConnection(storefront.address, timeout=60) for _ in range(15)]
        for order, client in enumerate(clients):
            client.request("GET", f"/checkout/{order}")
        for _ in clients:
            assert inventory.asked.acquire(timeout=60), "a request did not reach the inventory"
        storefront.end()
        wait_for("new clients to be refused", lambda: is_refused(storefront.address))
        inventory.answer.set()
        assert [client.getresponse().status for client in clients] == [200] * 15
        books = storefront.books()
    documents = reader.stop()
    assert books == {"created": 15, "sent": 15, "lost": {}}, books
    urls = {document["http"]["request"]["url"] for document in documents}
    assert urls == {f"http://{storefront.address}/checkout/{order}" for order in range(15)}, urls
    assert all(document["http"]["response"]["status"] == 200 for document in documents)
    print("SIGTERM while 15 requests run:", len(documents), "documents, exit 0")


def is_refused(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


shows_its_traces()
loses_nothing_of_large_traces()
balances_without_a_daemon()
ends_after_its_last_request()
