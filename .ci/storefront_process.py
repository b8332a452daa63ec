"""The storefront as a process of its own, for the checks that drive it."""

import json
import os
import re
import signal
import subprocess
import tempfile

from reader import wait_for


def environment(daemon=None):
    """That of this process without the variables of X-Ray, then with `daemon`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_XRAY_")}
    address = {"AWS_XRAY_DAEMON_ADDRESS": daemon} if daemon else {}
    return {**kept, "RUST_BACKTRACE": "0", **address}


def command(program, *more):
    inventory = [] if "--inventory-url" in more else ["--inventory", "127.0.0.1:0"]
    return [program, "--listen", "127.0.0.1:0", *inventory, *more]


def run(program, requests, daemon=None, *more):
    """Lets it drive so many requests at itself. Returns the lines that it
    prints, and its books of documents."""
    done = subprocess.run(
        command(program, "--requests", str(requests), *more), env=environment(daemon),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return lines, json.loads(lines[-1])


class Serving:
    """Serves at `address` until it is ended."""

    def __init__(self, program, daemon, *more):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command(program, *more), env=environment(daemon),
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = wait_for("the storefront", self.printed_address)

    def printed_address(self):
        self.log.seek(0)
        log = self.log.read()
        assert self.process.poll() is None, log
        found = re.search(r"storefront on http://([\d.:]+),", log)
        return found and found[1]

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)

    def books(self):
        """Waits until it has ended well, and returns its books of documents."""
        out, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, self.process.returncode
        return json.loads(out.splitlines()[-1])

    def close(self):
        self.process.kill()
        self.process.wait(10)
