#!/usr/bin/env python3
"""Puts the storefront's documents into moto's X-Ray API with boto3, as a daemon
does, and asks for them back.

usage: upload.py PATH_TO_STOREFRONT
"""

import queue
import sys
import threading

from reader import body
from roundtrip import documents_come_back
from service import Moto

BATCH = 50  # documents that the API takes with one call


class Uploader:
    """Puts documents from a thread of its own, so that the reader can read."""

    def __init__(self, api):
        self.api, self.waiting, self.unprocessed = api, queue.SimpleQueue(), []
        threading.Thread(target=self.run, daemon=True).start()

    def take(self, datagram):
        self.waiting.put(body(datagram).decode())

    def run(self):
        while True:
            batch = [self.waiting.get()]
            while len(batch) < BATCH and not self.waiting.empty():
                batch.append(self.waiting.get())
            answer = self.api.put_trace_segments(TraceSegmentDocuments=batch)
            self.unprocessed += answer["UnprocessedTraceSegments"]


def main():
    moto = Moto()
    try:
        uploader = Uploader(moto.api)
        passed = documents_come_back(sys.argv[1], moto, uploader.take)
        assert uploader.unprocessed == [], uploader.unprocessed
    finally:
        moto.stop()
    print(passed, "through put_trace_segments and back, all equal")


main()
