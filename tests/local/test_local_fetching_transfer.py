"""Claims about fetching over HTTP, against a server on this machine that cuts, ignores ranges, changes files or has none."""

import http.server
import logging
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from local.fetching import transfer
from local.fetching.joined import check_md5
from local.fetching.transfer import fetch
from steps.core.errors import RecipeError

LOG = logging.getLogger("test_fetching")
DATA = np.random.default_rng(1).bytes(300_000)


class Server:
    """What a server does, and what it was asked."""

    def __init__(self) -> None:
        self.data = DATA
        self.version = '"one"'
        self.cut_after: list[int] = []  # bytes of each of the next answers
        self.status = 0  # answered instead of the file
        self.has_ranges = True
        self.says_length = True
        self.asked: list[tuple[str, str]] = []  # Range and If-Range of each request


@contextmanager
def serve(server: Server):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
            server.asked.append((asked, condition))
            if server.status:
                self.send_error(server.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
            ranged = bool(asked) and server.has_ranges and condition in ("", server.version)
            if ranged and start >= len(server.data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.data[start:] if ranged else server.data
            self.send_response(206 if ranged else 200)
            self.send_header("ETag", server.version)
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
            if server.says_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)
            self.close_connection = True

        def log_message(self, *words):
            pass

    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=here.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{here.server_port}/file.bin"
    finally:
        here.shutdown()
        here.server_close()


def run(urls: str | list[str], path: Path, **options) -> list[float]:
    """Fetch; how long it would have waited between attempts."""
    pauses: list[float] = []
    fetch([urls] if isinstance(urls, str) else urls, path, log=LOG, pause=pauses.append, **options)
    return pauses


def test_a_file_arrives_whole(tmp_path):
    with serve(Server()) as url:
        assert run(url, tmp_path / "f", num_bytes=len(DATA)) == []
    assert (tmp_path / "f").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_cut_connection_is_gone_on_with(tmp_path):
    server = Server()
    server.cut_after = [100_000, 0, 50_000]
    with serve(server) as url:
        pauses = run(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert [asked for asked, _ in server.asked] == ["", "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert {condition for _, condition in server.asked[1:]} == {'"one"'}
    assert pauses == [2.0, 4.0, 2.0]  # something new arrived: counted from 1 again


def test_another_run_goes_on_where_the_last_one_ended(tmp_path):
    server = Server()
    server.cut_after = [120_000, 0, 0]
    with serve(server) as url:
        with pytest.raises(
            RecipeError, match=r"f: the connection .*failed 2 times in a row .*120,000 bytes have arrived and stay"
        ):
            run(url, tmp_path / "f", retries=1)
        assert not (tmp_path / "f").exists()
        server.cut_after = []
        run(url, tmp_path / "f")
    assert server.asked[-1][0] == "bytes=120000-"
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_server_without_ranges_sends_everything_anew(tmp_path):
    server = Server()
    server.has_ranges, server.cut_after = False, [100_000]
    with serve(server) as url:
        run(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path):
    server = Server()
    server.cut_after = [100_000, 0]
    with serve(server) as url:
        with pytest.raises(RecipeError):
            run(url, tmp_path / "f", retries=1)
        server.data, server.version, server.cut_after = DATA[::-1], '"two"', []
        run(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA[::-1]


def test_a_file_that_became_shorter_has_nothing_of_the_older_one(tmp_path):
    server = Server()
    server.cut_after = [100_000, 0]
    with serve(server) as url:
        with pytest.raises(RecipeError):
            run(url, tmp_path / "f", retries=1)
        server.data, server.version, server.cut_after = DATA[:5_000], '"two"', []
        run(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA[:5_000]


@pytest.mark.parametrize("says", [0, len(DATA)])
def test_what_is_there_already_is_not_fetched_again(tmp_path, says):
    (tmp_path / "f.part").write_bytes(DATA)
    with serve(server := Server()) as url:
        run(url, tmp_path / "f", num_bytes=says)
    assert len(server.asked) == (says == 0)  # 416, as there is nothing behind the last byte
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize("says", [0, len(DATA)])
def test_more_than_there_can_be_is_thrown_away(tmp_path, says):
    (tmp_path / "f.part").write_bytes(DATA + b"more")
    with serve(Server()) as url:
        run(url, tmp_path / "f", num_bytes=says)
    assert (tmp_path / "f").read_bytes() == DATA


def test_the_next_server_is_tried_where_one_lacks_the_file_or_has_another(tmp_path):
    lacking, other = Server(), Server()
    lacking.status, other.data = 404, DATA[:-1]
    with serve(lacking) as first, serve(other) as second, serve(Server()) as third:
        run([first, second, third], tmp_path / "f", num_bytes=len(DATA))
        assert (tmp_path / "f").read_bytes() == DATA
        words = r"g: cannot be fetched: .*status 404 .*has a file of 299,999 bytes, expected 300,000; give another address"
        with pytest.raises(RecipeError, match=words):
            run([first, second], tmp_path / "g", num_bytes=len(DATA))
    assert (len(lacking.asked), len(other.asked)) == (2, 2)


def test_a_busy_server_is_asked_again_and_another_one_too(tmp_path):
    busy = Server()
    busy.status = 503
    with serve(busy) as first, serve(Server()) as second:
        run([first, second], tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == DATA
        with pytest.raises(RecipeError, match=r"failed 3 times in a row \(status 503"):
            run(first, tmp_path / "g", retries=2)
    assert len(busy.asked) == 1 + 3


def test_nobody_there_is_said(tmp_path):
    with serve(Server()) as url:
        pass
    with pytest.raises(RecipeError, match=r"failed 2 times in a row \(URLError"):
        run(url, tmp_path / "f", retries=1)


def test_a_full_disk_is_no_failed_connection(tmp_path, monkeypatch):
    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_write", full)
    with serve(server := Server()) as url, pytest.raises(OSError, match="No space left"):
        run(url, tmp_path / "f")
    assert len(server.asked) == 1


def test_a_wrong_checksum_is_told_from_a_right_one(tmp_path):
    (tmp_path / "a").write_bytes(b"hello ")
    (tmp_path / "b").write_bytes(b"world")
    parts = [tmp_path / "a", tmp_path / "b"]
    assert check_md5(parts, "5eb63bbbe01eeed093cb22bb8f5acdc3", LOG) == "5eb63bbbe01eeed093cb22bb8f5acdc3"
    assert check_md5(parts[:1], "", LOG) == "f814893777bcc2295fff05f00e508da6"
    with pytest.raises(RecipeError, match=r"a, .*b: MD5 5eb63bbb.*, expected 0{32} \(11 bytes\); .*delete it"):
        check_md5(parts, "0" * 32, LOG)
