"""Runs the storefront, and compares the documents that it sent with those that
moto's X-Ray API gives back."""

import json

from reader import Reader, walk, wait_for
from storefront_process import run

REQUESTS = 48


def documents_come_back(storefront, moto, hand_on):
    """Hands each datagram of the storefront to `hand_on`, and waits until moto
    has every document, equal to the one that was sent."""
    reader = Reader(room=8 << 20, then=hand_on)
    _, books = run(storefront, REQUESTS, reader.address)
    sent = reader.stop()
    assert books["lost"] == {} and books["created"] == books["sent"] == len(sent) > 0, books
    traces = sorted({document["trace_id"] for document in sent})
    wait_for(
        "all documents to come back", lambda: len(moto.documents(traces)) >= len(sent), 60)
    back = moto.documents(sorted({*traces, *moto.traces()}))
    assert texts(back) == texts(sent), "a document came back other than it was sent"
    return f"{len(sent)} documents, {len(list(walk(sent)))} segments and subsegments"


def texts(documents):
    """Each document as JSON with sorted keys: to Python, `true` equals 1, and 200
    equals 200.0."""
    return sorted(json.dumps(document, sort_keys=True) for document in documents)
