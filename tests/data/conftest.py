"""Small MNIST-like files, and a small web server to fetch them from."""

import contextlib
import gzip
import hashlib
import http.server
import struct
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from scorefield.data import published
from scorefield.data.idx_sets import FILES

NAMES = [name for split in ("train", "test") for name in FILES[split]]


def idx_bytes(array):
    """An IDX file of unsigned bytes, as its specification says: 0, 0, 8, rank, sizes, data."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx():
    return idx_bytes


@pytest.fixture
def files(monkeypatch):
    """The four files of a small MNIST by name, with the checksums of the package set to theirs."""
    monkeypatch.delenv("SCOREFIELD_DATA", raising=False)
    rng = np.random.default_rng(3)
    made = {}
    for images, labels, count in zip(NAMES[::2], NAMES[1::2], (24, 12), strict=True):
        made[images] = idx_bytes(rng.integers(0, 256, (count, 6, 5)))
        made[labels] = idx_bytes(np.arange(count) % 10)
    hashes = {
        name: (
            hashlib.sha256(content).hexdigest(),
            hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest(),
        )
        for name, content in made.items()
    }
    monkeypatch.setattr(published, "MNIST", replace(published.MNIST, hashes=hashes))
    return made


@pytest.fixture
def write():
    """Write files to a folder, raw or gzipped."""

    def write(folder, files, *, zipped=False):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            ending, stored = (".gz", gzip.compress(content)) if zipped else ("", content)
            (folder / f"{name}{ending}").write_bytes(stored)
        return folder

    return write


class Site:
    """A web site in this process: what it serves, what it was asked for, where it is."""

    def __init__(self):
        self.pages, self.asked, self.address = {}, [], ""
        self.ranges, self.ranges_asked = False, []


@pytest.fixture
def site(monkeypatch):
    """A web server on this machine; a page is its bytes, or (bytes sent, length promised).

    It knows no Range, unless ``ranges`` is set.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            site.asked.append(self.path)
            page = site.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            asked = self.headers.get("Range")
            site.ranges_asked.append(asked)
            body, length = page if isinstance(page, tuple) else (page, len(page))
            if asked and site.ranges:
                begin = int(asked.removeprefix("bytes=").removesuffix("-"))
                if begin >= length:
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{length - 1}/{length}")
                body, length = body[begin:], length - begin
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with contextlib.closing(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        server.close = server.server_close
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
        thread.join()


def png_bytes(array, kind, depth, *chunks):
    """A PNG as its specification says: signature, IHDR, other chunks, IDAT of unfiltered rows, IEND."""
    raw = array.astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, kind, 0, 0, 0)
    parts = (b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.fixture
def png():
    return png_bytes


def save_files(folder, files):
    """Files by name: bytes, text, or arrays that Pillow writes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        elif isinstance(content, Image.Image):
            content.save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture
def save():
    return save_files
