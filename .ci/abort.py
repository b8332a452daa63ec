#!/usr/bin/env python3
"""Builds the storefront with `panic = "abort"` and holds it to what it does in
any build: every request that ends is traced as ever. A panic then ends the
process, as it is meant to, and what was recorded before it has arrived.

usage: abort.py [TARGET_FOLDER]
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

TARGET = sys.argv[1] if len(sys.argv) > 1 else "target/abort"
ROUNDS = 20
# Path, status, flags of its segment.
ROUTES = [
    ("/checkout/7", 200, set()), ("/missing", 404, {"error"}),
    ("/throttled", 429, {"error", "throttle"}), ("/fail", 500, {"fault"}),
    ("/stream", 200, set()), ("/big", 200, set()),
]


def build():
    environment = {
        **os.environ, "CARGO_PROFILE_DEV_PANIC": "abort", "CARGO_TARGET_DIR": TARGET}
    subprocess.run(
        ["cargo", "build", "--quiet", "-p", "xray-examples", "--bin", "storefront"],
        env=environment, check=True)
    return os.path.join(TARGET, "debug", "storefront")


class Reader:
    """Keeps every document that comes."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.documents = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.documents.append(json.loads(self.socket.recv(65536).partition(b"\n")[2]))


def wait_for(what, ready, seconds=20):
    until = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > until:
            sys.exit("waited in vain for " + what)
        time.sleep(0.05)
    return found


def get(url, root):
    request = urllib.request.Request(url, headers={"X-Amzn-Trace-Id": "Root=" + root})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as answer:
        answer.read()
        return answer.code


def check(documents, expected):
    """Each segment is there, with its flags; each /big with all its parts."""
    segments = {one["trace_id"]: one for one in documents if one["name"] == "storefront"}
    parts, inventories = 0, 0
    waiting = list(documents)
    while waiting:
        node = waiting.pop()
        parts += node["name"] == "part"
        inventories += node["name"] == "inventory"
        waiting += node.get("subsegments", [])
    assert set(segments) == set(expected), set(expected) - set(segments)
    for root, (path, status, flags) in expected.items():
        segment = segments[root]
        assert segment["http"]["response"]["status"] == status, (path, segment)
        found = {flag for flag in ("error", "throttle", "fault") if segment.get(flag)}
        assert found == flags, (path, found)
        assert ("cause" in segment) == (path == "/fail"), segment
    assert (parts, inventories) == (500 * ROUNDS, ROUNDS), (parts, inventories)


def main():
    program, reader = build(), Reader()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_XRAY_")}
    environment |= {"RUST_BACKTRACE": "0", "AWS_XRAY_DAEMON_ADDRESS": reader.address}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--inventory", "127.0.0.1:0"],
            env=environment, stdout=subprocess.DEVNULL, stderr=log)

        def address():
            log.seek(0)
            return re.search(r"storefront on (http://[\d.:]+),", log.read())

        try:
            url = wait_for("the storefront", address)[1]
            expected = {}
            for _ in range(ROUNDS):
                for path, status, flags in ROUTES:
                    root = f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"
                    assert get(url + path, root) == status, path
                    expected[root] = (path, status, flags)
            roots = set(expected)
            arrived = lambda: roots <= {
                one["trace_id"] for one in list(reader.documents) if one["name"] == "storefront"}
            wait_for("all segments", arrived)
            time.sleep(0.2)  # in which nothing more may come
            check(list(reader.documents), expected)
            try:
                get(url + "/panic", "1-00000001-000000000000000000000001")
                sys.exit("a panic was answered")
            except (OSError, urllib.error.URLError):
                pass
            assert process.wait(10) == -signal.SIGABRT, process.returncode
        finally:
            process.kill()
    print(f"panic = abort: {len(expected)} requests answered and traced as ever, "
          f"{len(reader.documents)} documents; a panic ends the process")


main()
