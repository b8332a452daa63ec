#!/usr/bin/env python3
"""Sends the storefront's documents through AWS's own daemon, which $XRAY_DAEMON
names, into moto's X-Ray API, and asks for them back.

usage: daemon.py PATH_TO_STOREFRONT
"""

import pathlib
import socket
import sys
import tempfile

from roundtrip import documents_come_back
from service import Service


def main():
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with tempfile.TemporaryDirectory() as folder:
        service = Service(pathlib.Path(folder))
        try:
            passed = documents_come_back(
                sys.argv[1], service,
                lambda datagram: out.sendto(datagram, ("127.0.0.1", service.udp)))
            log = service.log.read_text()
            assert "Unprocessed" not in log, log
        finally:
            service.stop()
    print(passed, "through the daemon and back, all equal")


main()
