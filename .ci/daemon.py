#!/usr/bin/env python3
"""Sends the storefront's documents through AWS's own daemon into moto's X-Ray
API, and asks for them back.

usage: daemon.py PATH_TO_STOREFRONT

The daemon is the program at $XRAY_DAEMON, else ../shared/bin/xray-daemon.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import boto3

STOREFRONT = sys.argv[1]
REQUESTS = 48


def daemon_program():
    named = os.environ.get("XRAY_DAEMON")
    candidates = [named] if named else ["../shared/bin/xray-daemon"]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    sys.exit(
        "AWS's X-Ray daemon is missing. Get it from "
        "https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon.html, or build "
        "github.com/aws/aws-xray-daemon with `go build ./cmd/tracing`, and set XRAY_DAEMON "
        "to the program.")


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, ready, seconds=30):
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            sys.exit("waited in vain for " + what)
        time.sleep(0.1)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Service:
    """Moto behind the daemon, both on free ports."""

    def __init__(self, folder):
        self.moto = free_port(socket.SOCK_STREAM)
        self.udp, self.tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self.log = folder / "daemon.log"
        config = folder / "daemon.yaml"
        config.write_text(f"""
Version: 2
LocalMode: true
Region: us-east-1
Endpoint: "http://127.0.0.1:{self.moto}"
Socket: {{ UDPAddress: "127.0.0.1:{self.udp}", TCPAddress: "127.0.0.1:{self.tcp}" }}
Logging: {{ LogLevel: debug, LogPath: {self.log} }}
""")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {
            **os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.moto)]
        self.processes = [subprocess.Popen(server, **quiet)]
        wait_for("moto", lambda: answers(self.moto))
        self.processes.append(
            subprocess.Popen([daemon_program(), "-c", str(config)], env=environment, **quiet))
        wait_for("the daemon", lambda: answers(self.tcp))
        self.api = boto3.client(
            "xray", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.moto}",
            aws_access_key_id="x", aws_secret_access_key="y")

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait(10)


class Tap:
    """Passes datagrams on to the daemon, and keeps what it saw."""

    def __init__(self, to):
        import threading
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
    traces = sorted({document["trace_id"] for document in documents})
    found = []
    for start in range(0, len(traces), 5):
        answer = service.api.batch_get_traces(TraceIds=traces[start:start + 5])
        for trace in answer["Traces"]:
            found += [json.loads(segment["Document"]) for segment in trace["Segments"]]
    return found


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
