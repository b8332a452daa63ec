#!/usr/bin/env python3
"""Puts the storefront under load while AWS's own daemon is killed and started
again, then while it is stopped and continued, and accounts for every document.

usage: restarts.py PATH_TO_STOREFRONT

What is asserted, and why no more can be:

- The storefront's ledger: every document was sent and none lost, as the queue
  covers every outage. What the kernel takes counts as sent.
- A killed daemon takes along what it had received and not uploaded: what its
  socket held, the batch it was filling (50 documents, or a second), and the
  one it was uploading. So what is missing was sent in the two seconds before a
  kill, and is at most that much a kill. Whatever was recorded at other times
  arrives complete, outages included: that is held until a daemon listens.
- A stopped daemon's socket fills up; the kernel throws away what comes then,
  and tells no sender, but keeps count. What is missing is exactly that.
"""

import collections
import http.client
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

from service import Service
from storefront_process import Serving

STOREFRONT = sys.argv[1]
# Path, status, and who records a document for it.
ROUTES = [
    ("/checkout/7", 200, {"storefront", "inventory"}), ("/missing", 404, {"storefront"}),
    ("/throttled", 429, {"storefront"}), ("/fail", 500, {"storefront"}),
    ("/panic", 500, {"storefront"}),
]
CLIENTS, PAUSE = 4, 0.025
USUAL, KILLS, DOWN, UP, STOPS, STOPPED = 5, 5, 1.0, 3.5, 2, 4.0
# Linux: the default receive buffer, and what the smallest datagrams take of it.
BUFFER, SMALLEST = 212_992, 1_280
BATCH = 50
BEFORE_A_KILL = 2.0

Request = collections.namedtuple("Request", "path trace begun ended documents")
Phase = collections.namedtuple("Phase", "what begun ended")


class Load:
    """Clients that ask for one route after the other."""

    def __init__(self, address):
        self.address, self.over, self.requests, self.failed = address, False, [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = http.client.HTTPConnection(self.address, timeout=10)
        while True:
            for path, status, documents in ROUTES:
                if self.over:
                    client.close()
                    return
                trace = f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"
                begun = time.monotonic()
                try:
                    client.request("GET", path, headers={"X-Amzn-Trace-Id": "Root=" + trace})
                    answer = client.getresponse()
                    answer.read()
                    ended = time.monotonic()
                    assert answer.status == status, answer.status
                    self.requests.append(Request(path, trace, begun, ended, documents))
                except Exception as error:  # whatever it is, a caller saw it
                    self.failed.append((path, repr(error)))
                    client.close()
                time.sleep(PAUSE)

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join(20)


def kill_and_stop(service):
    """The phases, when each kill was, and the kernel's drops before the kills
    and since the last."""
    phases, kills, drops = [], [], 0

    def phase(what, seconds):
        begun = time.monotonic()
        time.sleep(seconds)
        phases.append(Phase(what, begun, time.monotonic()))

    phase("usual", USUAL)
    for _ in range(KILLS):
        drops += service.kernel_drops()
        kills.append(time.monotonic())
        service.kill_daemon()
        phase("down", DOWN)
        service.start_daemon()
        phase("up again", UP)
    for _ in range(STOPS):
        service.pause_daemon()
        phase("stopped", STOPPED)
        service.continue_daemon()
        phase("up again", UP)
    return phases, kills, drops


def missing_documents(service, requests):
    """The requests of which documents have not arrived, with how many; asked
    again until nothing more comes."""
    incomplete, before = {request.trace: request for request in requests}, None
    while len(incomplete) != before:
        before = len(incomplete)
        time.sleep(2)  # a partial batch waits for one second
        # By id: a daemon that was stopped in the middle of an upload makes it again.
        found = collections.defaultdict(dict)
        for document in service.documents(sorted(incomplete)):
            found[document["trace_id"]][document["id"]] = document["name"]
        for trace, documents in found.items():
            names = sorted(documents.values())
            expected = incomplete[trace].documents
            assert len(names) == len(set(names)) and set(names) <= expected, (trace, names)
            if set(names) == expected:
                del incomplete[trace]
    return [(request, len(request.documents) - len(found[request.trace]))
            for request in incomplete.values()]


def no_caller_notices(load, phases):
    assert load.failed == [], load.failed[:5]

    def times(what):
        within = [request.ended - request.begun for request in load.requests
                  for phase in phases if phase.what == what
                  and phase.begun <= request.begun and request.ended <= phase.ended]
        within.sort()
        return 1e3 * within[len(within) // 2], 1e3 * within[len(within) * 99 // 100], len(within)

    usual = times("usual")
    for what in "usual", "down", "stopped":
        median, most, count = times(what)
        print(f"  {what:8} {count:5} requests, median {median:.1f} ms, p99 {most:.1f} ms")
        assert median <= 1.5 * usual[0] + 2, "requests are slower while the daemon is " + what
    print(f"  {len(load.requests)} requests, all answered as ever")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        service = Service(folder)
        storefront = Serving(STOREFRONT, f"127.0.0.1:{service.udp}")
        try:
            load = Load(storefront.address)
            phases, kills, drops_before_kills = kill_and_stop(service)
            load.stop()
            storefront.end(signal.SIGINT)
            ledger = storefront.books()
            no_caller_notices(load, phases)
            missing = missing_documents(service, load.requests)
            drops = service.kernel_drops()
        finally:
            storefront.close()
            service.stop()
    accounts(load, kills, ledger, missing, (drops_before_kills, drops))


def accounts(load, kills, ledger, missing, drops):
    recorded = sum(len(request.documents) for request in load.requests)
    by_kills = by_stops = 0
    elsewhere = []
    for request, count in missing:
        if any(kill - BEFORE_A_KILL <= request.ended <= kill + 0.1 for kill in kills):
            by_kills += count
        else:
            by_stops += count
            elsewhere.append(request.ended - kills[-1])
    received = recorded - by_kills - by_stops
    at_most = KILLS * (BUFFER // SMALLEST + 2 * BATCH) + drops[0]
    print(f"  storefront: created {ledger['created']}, sent {ledger['sent']}, "
          f"lost {ledger['lost']}")
    print(f"  moto:       received {received}")
    print(f"  missing:    {by_kills} of the last seconds before {KILLS} kills (at most {at_most}), "
          f"{by_stops} while stopped (the kernel dropped {drops[1]})")
    assert ledger == {"created": recorded, "sent": recorded, "lost": {}}, (ledger, recorded)
    assert by_kills <= at_most
    assert min(elsewhere, default=DOWN) >= DOWN, "missing long before or after a kill"
    assert by_stops == drops[1]
    assert drops[1] > 0, "the stops were too short to fill the socket"


main()
