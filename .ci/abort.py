#!/usr/bin/env python3
"""Builds the storefront with `panic = "abort"` and holds it to what it does in
any build: every request that ends is traced as ever. A panic then ends the
process, as it is meant to, and what was recorded before it has arrived.

usage: abort.py [TARGET_FOLDER]
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from reader import Reader, walk, wait_for
from storefront_process import Serving

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
    names = [node["name"] for node in walk(documents)]
    parts, inventories = names.count("part"), names.count("inventory")
    assert set(segments) == set(expected), set(expected) - set(segments)
    for root, (path, status, flags) in expected.items():
        segment = segments[root]
        assert segment["http"]["response"]["status"] == status, (path, segment)
        found = {flag for flag in ("error", "throttle", "fault") if segment.get(flag)}
        assert found == flags, (path, found)
        assert ("cause" in segment) == (path == "/fail"), segment
    assert (parts, inventories) == (500 * ROUNDS, ROUNDS), (parts, inventories)


def main():
    reader = Reader(room=8 << 20)
    storefront = Serving(build(), reader.address)
    try:
        url = "http://" + storefront.address
        expected = {}
        for _ in range(ROUNDS):
            for path, status, flags in ROUTES:
                root = f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"
                assert get(url + path, root) == status, path
                expected[root] = (path, status, flags)
        wait_for("all segments", lambda: set(expected) <= {
            one["trace_id"] for one in reader.documents() if one["name"] == "storefront"})
        time.sleep(0.2)  # in which nothing more may come
        check(reader.documents(), expected)
        try:
            get(url + "/panic", "1-00000001-000000000000000000000001")
            sys.exit("a panic was answered")
        except (OSError, urllib.error.URLError):
            pass
        ended = storefront.process.wait(10)
        assert ended == -signal.SIGABRT, ended
    finally:
        storefront.close()
    print(f"panic = abort: {len(expected)} requests answered and traced as ever, "
          f"{len(reader.datagrams)} documents; a panic ends the process")


main()
