"""AWS's own daemon before moto's X-Ray API, for the checks that need them.

The daemon is the program at $XRAY_DAEMON, else ../shared/bin/xray-daemon.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import boto3

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


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
        self.log, self.config = folder / "daemon.log", folder / "daemon.yaml"
        self.config.write_text(f"""
Version: 2
LocalMode: true
Region: us-east-1
Endpoint: "http://127.0.0.1:{self.moto}"
Socket: {{ UDPAddress: "127.0.0.1:{self.udp}", TCPAddress: "127.0.0.1:{self.tcp}" }}
Logging: {{ LogLevel: debug, LogPath: {self.log} }}
""")
        server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.moto)]
        self.server, self.daemon = subprocess.Popen(server, **QUIET), None
        wait_for("moto", lambda: answers(self.moto))
        self.start_daemon()
        self.api = boto3.client(
            "xray", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.moto}",
            aws_access_key_id="x", aws_secret_access_key="y")

    def start_daemon(self):
        environment = {
            **os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.daemon = subprocess.Popen(
            [daemon_program(), "-c", str(self.config)], env=environment, **QUIET)
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

    def stop(self):
        for process in self.server, self.daemon:
            process.terminate()
            process.wait(10)

    def documents(self, traces):
        """What the API has of these traces."""
        found = []
        for start in range(0, len(traces), 5):
            answer = self.api.batch_get_traces(TraceIds=traces[start:start + 5])
            for trace in answer["Traces"]:
                found += [json.loads(segment["Document"]) for segment in trace["Segments"]]
        return found
