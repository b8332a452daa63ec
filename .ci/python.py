#!/usr/bin/env python3
"""Puts the storefront between a client and an inventory that both trace with
AWS's SDK for Python, and checks that a trace stays one trace.

usage: python.py PATH_TO_STOREFRONT
"""

import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import sys
import threading
import time

for variable in [name for name in os.environ if name.startswith("AWS_XRAY_")]:
    del os.environ[variable]  # before the SDK, which reads them on import

import requests
from aws_xray_sdk.core import patch, xray_recorder
from aws_xray_sdk.core.models.noop_traceid import NoOpTraceId
from aws_xray_sdk.core.models.trace_header import TraceHeader
from aws_xray_sdk.core.models.traceid import TraceId
from aws_xray_sdk.ext.util import (
    calculate_sampling_decision, construct_xray_header, inject_trace_header,
    prepare_response_header)

from reader import Reader, body, wait_for
from storefront_process import Serving, run

STOREFRONT = sys.argv[1]
CLIENT, INVENTORY = "python client", "python inventory"
HEADER = "X-Amzn-Trace-Id"
NO_ROOT, NO_PARENT = NoOpTraceId().to_id(), "0" * 16
TRACE_ID = "1-[0-9a-f]{8}-[0-9a-f]{24}"
LINEAGE = {"Lineage": "a87bd80c:1|68fd508a:5"}
TRACED = ["/checkout/7", "/missing", "/throttled", "/fail", "/panic", "/stream", "/big"]

ANYWHERE = {
    "name", "id", "start_time", "end_time", "in_progress", "error", "throttle", "fault", "cause",
    "http", "aws", "annotations", "metadata", "subsegments",
}
SEGMENT = ANYWHERE | {"trace_id", "parent_id", "service", "user", "origin"}
NESTED = ANYWHERE | {"namespace", "traced", "precursor_ids", "sql"}
ALONE = NESTED | {"trace_id", "parent_id", "type"}


class Daemon(Reader):
    """The address that both SDKs send to."""

    def take(self, storefront, client, inventory):
        """The documents of each, when exactly so many have come."""
        wanted = storefront + client + inventory
        wait_for(f"{wanted} documents", lambda: len(self.datagrams) >= wanted)
        time.sleep(0.2)  # in which nothing more may come
        taken, self.datagrams = self.datagrams, []
        found = {"storefront": [], CLIENT: [], INVENTORY: []}
        for datagram in taken:
            text = body(datagram).decode()
            document = json.loads(text)
            # A streamed subsegment has another name; Python streams none this small.
            service = document["name"] if document["name"] in found else "storefront"
            found[service].append(document)
            if service == "storefront":
                is_well_formed(text, document)
        counts = [len(documents) for documents in found.values()]
        assert counts == [storefront, client, inventory], (counts, storefront, client, inventory)
        return found.values()


def is_well_formed(text, document):
    """Compact, without nulls, false flags and empty values, and nothing that
    belongs elsewhere."""
    assert not re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)), text[:400]
    waiting = [(document, ALONE if "type" in document else SEGMENT)]
    while waiting:
        node, allowed = waiting.pop()
        assert set(node) <= allowed, set(node) - allowed
        for field, value in node.items():
            if field in ("annotations", "metadata"):  # what the program said, `false` too
                assert value and None not in value.values(), node
            elif field == "subsegments":
                assert value, node
                waiting += [(child, NESTED) for child in value]
            else:
                says_something(value)


def says_something(value):
    assert value is not None and value is not False and value not in ("", [], {}), value
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            says_something(inner)


class Inventory(http.server.BaseHTTPRequestHandler):
    """GET /stock/{order}, traced as the SDK's own middlewares do it."""

    heard = []  # the trace headers of each request
    timeout = 20

    def do_GET(self):
        self.heard.append(self.headers.get_all(HEADER))
        header = construct_xray_header(self.headers)
        decision = calculate_sampling_decision(header, xray_recorder, {})
        segment = xray_recorder.begin_segment(
            INVENTORY, traceid=header.root, parent_id=header.parent, sampling=decision)
        segment.save_origin_trace_header(header)
        segment.put_http_meta("method", "GET")
        segment.put_http_meta("url", "http://" + self.headers["Host"] + self.path)
        with xray_recorder.in_subsegment("count shelves"):
            body = json.dumps({"stock": 1}).encode()
        self.send_response(200)
        self.send_header(HEADER, prepare_response_header(header, segment))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        segment.put_http_meta("status", 200)
        xray_recorder.end_segment()

    def log_message(self, *_):
        pass

    @classmethod
    @contextlib.contextmanager
    def serving(cls):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_port
        server.shutdown()


def heard_whole(lines, extras):
    """What Python reads of the header the storefront sent, when it reads all."""
    assert lines is not None and len(lines) == 1, lines
    header = TraceHeader.from_header_str(lines[0])
    assert header.to_header_str() == lines[0], (lines, header.to_header_str())
    assert header.data == extras, lines
    return header


def goes_on(document, inventory_segments, lines, extras):
    """From the storefront's segment on into Python's inventory."""
    assert document["http"]["response"]["status"] == 200, document["http"]
    [call] = [node for node in document["subsegments"] if node.get("namespace") == "remote"]
    header = heard_whole(lines, extras)
    heard = (header.root, header.parent, header.sampled)
    assert heard == (document["trace_id"], call["id"], 1), (lines, document)
    [segment] = [one for one in inventory_segments if one["trace_id"] == document["trace_id"]]
    assert segment["parent_id"] == call["id"], (segment, call)
    assert segment["subsegments"][0]["name"] == "count shelves"


def stays_unsampled(root, lines):
    header = heard_whole(lines, {})
    assert (header.root, header.sampled) == (root, 0), lines


def python_is_called(daemon, inventory):
    Inventory.heard.clear()
    _, counts = run(STOREFRONT, 16, daemon.address, "--inventory-url", inventory)
    assert counts["lost"] == {} and counts["created"] == counts["sent"], counts
    documents, _, called = daemon.take(counts["sent"], 0, 2)
    segments = [document for document in documents if "type" not in document]
    urls = [one["http"]["request"]["url"] for one in segments if "in_progress" not in one]
    paths = sorted("/" + url.split("/", 3)[3] for url in urls)
    assert paths == sorted(TRACED * 2), paths
    assert not [one for one in segments if "parent_id" in one], "a root has no parent"
    checkouts = [one for one in segments if "/checkout/" in one["http"]["request"]["url"]]
    checkouts.sort(key=lambda one: one["start_time"])
    assert len(checkouts) == len(Inventory.heard) == 2, Inventory.heard
    for checkout, lines in zip(checkouts, Inventory.heard):
        goes_on(checkout, called, lines, {})
    return len(documents)


def get(address, headers):
    """Asks without tracing. Returns what `X-Amzn-Trace-Id` answers."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", "/checkout/7", headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, body)
        return response.headers.get_all(HEADER)
    finally:
        connection.close()


def patched(address):
    """As most programs do it: the patched `requests` writes the header."""
    with xray_recorder.in_segment(CLIENT) as segment, requests.Session() as session:
        session.trust_env = False  # no proxy
        response = session.get(f"http://{address}/checkout/7", timeout=20)
        assert response.status_code == 200, response.text
        [call] = segment.subsegments
    return segment.trace_id, call.id, [response.headers[HEADER]]


def by_hand(address, sampled, extras=None):
    """A subsegment of one's own round the call, inside a service that was
    itself called with `extras` in the header."""
    with xray_recorder.in_segment(CLIENT, sampling=sampled) as segment:
        segment.save_origin_trace_header(TraceHeader(data=extras))
        with xray_recorder.in_subsegment("call", namespace="remote") as call:
            headers = {}
            inject_trace_header(headers, call)
            answer = get(address, headers)
    return segment.trace_id, call.id, answer


def asked_to_decide(address, root, parent):
    header = TraceHeader(root=root, parent=parent, sampled="?").to_header_str()
    return get(address, {HEADER: header})


def python_calls(daemon, inventory):
    Inventory.heard.clear()
    sampled = []  # (root, parent, the header's extras, what the inventory heard)
    with contextlib.closing(
            Serving(STOREFRONT, daemon.address, "--inventory-url", inventory)) as storefront:
        address = storefront.address
        root, parent, answer = patched(address)
        assert answer == [f"Root={root}"], answer
        sampled.append((root, parent, {}, Inventory.heard.pop()))

        root, parent, answer = by_hand(address, 1, LINEAGE)
        assert answer == [f"Root={root}"], answer
        sampled.append((root, parent, LINEAGE, Inventory.heard.pop()))

        # The root that Python sends with unsampled work is none.
        root, parent, answer = by_hand(address, 0)
        assert (root, parent) == (NO_ROOT, NO_PARENT), (root, parent)
        [own] = map(TraceHeader.from_header_str, answer)
        assert re.fullmatch(TRACE_ID, own.root) and own.root != NO_ROOT, answer
        assert own.sampled is None, answer
        stays_unsampled(own.root, Inventory.heard.pop())

        # Unless it is told to send the real one.
        os.environ["AWS_XRAY_NOOP_ID"] = "false"
        root, parent, answer = by_hand(address, 0)
        del os.environ["AWS_XRAY_NOOP_ID"]
        assert root != NO_ROOT and parent != NO_PARENT, (root, parent)
        assert answer == [f"Root={root}"], answer
        stays_unsampled(root, Inventory.heard.pop())

        root, parent = TraceId().to_id(), "53995c3f42cd8ad8"
        answer = asked_to_decide(address, root, parent)
        assert answer == [f"Root={root};Sampled=1"], answer
        sampled.append((root, parent, {}, Inventory.heard.pop()))

        # Last, so that what an unsampled one might cause has come before.
        answer = asked_to_decide(address, NO_ROOT, NO_PARENT)
        [own] = map(TraceHeader.from_header_str, answer)
        assert re.fullmatch(TRACE_ID, own.root) and own.root != NO_ROOT, answer
        assert answer == [f"Root={own.root};Sampled=1"], answer
        sampled.append((own.root, None, {}, Inventory.heard.pop()))

        documents, clients, called = daemon.take(len(sampled), 2, len(sampled))

    assert not Inventory.heard, Inventory.heard
    by_trace = {document["trace_id"]: document for document in documents}
    assert set(by_trace) == {root for root, *_ in sampled}, (sorted(by_trace), sampled)
    for root, parent, extras, lines in sampled:
        assert by_trace[root].get("parent_id") == parent, (by_trace[root], parent)
        goes_on(by_trace[root], called, lines, extras)
    clients.sort(key=lambda client: client["start_time"])
    sent = [(client["trace_id"], client["subsegments"][0]["id"]) for client in clients]
    assert sent == [(root, parent) for root, parent, *_ in sampled[:2]], sent
    return len(documents)


def main():
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("took more than two minutes"))
    signal.alarm(120)
    daemon = Daemon()
    xray_recorder.configure(service=CLIENT, sampling=False, daemon_address=daemon.address)
    patch(["requests"])
    with Inventory.serving() as inventory:
        called = python_is_called(daemon, inventory)
        calls = python_calls(daemon, inventory)
    print(f"Python's SDK as callee ({called} documents of the storefront) and as caller and "
          f"callee ({calls}): each trace is one")


main()
