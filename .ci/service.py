"""Moto's X-Ray API, alone or behind AWS's own daemon.

The daemon is the program that $XRAY_DAEMON names.
"""

import json
import os
import signal
import socket
import subprocess
import sys

import boto3

from reader import wait_for

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Moto:
    """Moto's X-Ray API on a free port.

    Moto takes a document that has an id, a name, a trace id, a start, and an
    end or `in_progress`, and keeps its text. It checks no other field, no size
    and no count, replaces no document by a later one, and joins no trace.
    """

    def __init__(self):
        port = free_port(socket.SOCK_STREAM)
        self.endpoint = f"http://127.0.0.1:{port}"
        server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.processes = [subprocess.Popen(server, **QUIET)]
        wait_for("moto", lambda: answers(port))
        self.api = boto3.client(
            "xray", region_name="us-east-1", endpoint_url=self.endpoint,
            aws_access_key_id="x", aws_secret_access_key="y")

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait(10)

    def traces(self):
        """The ids of all traces that the API has, but of those still in progress."""
        time = {"StartTime": 0, "EndTime": 1 << 32}
        answers = self.api.get_paginator("get_trace_summaries").paginate(**time)
        return [trace["Id"] for answer in answers for trace in answer["TraceSummaries"]]

    def documents(self, traces):
        """The documents that the API has of these traces."""
        found = []
        for start in range(0, len(traces), 5):
            answer = self.api.batch_get_traces(TraceIds=traces[start:start + 5])
            for trace in answer["Traces"]:
                found += [json.loads(segment["Document"]) for segment in trace["Segments"]]
        return found


class Service(Moto):
    """Moto behind the daemon, both on free ports."""

    def __init__(self, folder):
        super().__init__()
        self.udp, self.tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self.log, self.config = folder / "daemon.log", folder / "daemon.yaml"
        self.config.write_text(f"""
Version: 2
LocalMode: true
Region: us-east-1
Endpoint: "{self.endpoint}"
Socket: {{ UDPAddress: "127.0.0.1:{self.udp}", TCPAddress: "127.0.0.1:{self.tcp}" }}
Logging: {{ LogLevel: debug, LogPath: {self.log} }}
""")
        self.start_daemon()

    @property
    def daemon(self):
        return self.processes[1]

    def start_daemon(self):
        environment = {
            **os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        program = os.environ.get("XRAY_DAEMON") or sys.exit(
            "XRAY_DAEMON must name AWS's daemon: build github.com/aws/aws-xray-daemon with "
            "`go build ./cmd/tracing`")
        self.processes[1:] = [
            subprocess.Popen([os.path.abspath(program), "-c", str(self.config)], env=environment, **QUIET)]
        wait_for("the daemon", lambda: answers(self.tcp))

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait(10)

    def pause_daemon(self):
        self.daemon.send_signal(signal.SIGSTOP)

    def continue_daemon(self):
        self.daemon.send_signal(signal.SIGCONT)

    def kernel_drops(self):
        """Datagrams the kernel threw away before the daemon read them, since
        the daemon started."""
        with open("/proc/net/udp", encoding="ascii") as table:
            rows = [line.split() for line in table]
        [row] = [row for row in rows if row[1] == f"0100007F:{self.udp:04X}"]
        return int(row[12])
