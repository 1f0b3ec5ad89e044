"""The download against a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seewhy.data.sources import cifar102
from seewhy.data.sources.cifar102 import BLOBS, fetch_cifar102, git_blob_id
from seewhy.errors import DownloadError
from seewhy.runtime.progress import Advance, Silent

TRAIN, TEST = "cifar102_train.npz", "cifar102_test.npz"
CONTENT = {TRAIN: bytes(range(256)) * 1000, TEST: b"test" * 500}


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


IDS = {name: blob_id(content) for name, content in CONTENT.items()}


@dataclass
class Server:
    """What the server does, and what it was asked."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    ranges: bool = True
    break_after: int | None = None
    say_length: bool = True
    redirect: str | None = None
    status: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def handler_for(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.rpartition("/")[2], self.headers["Range"]
            server.asked.append((name, wanted))
            if server.redirect:
                self.send_response(302)
                self.send_header("Location", server.redirect)
                self.end_headers()
                return
            if server.status:
                self.send_error(server.status)
                return
            body, start = server.content[name], 0
            if wanted and server.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if server.say_length:
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            stop = len(body) if server.break_after is None else start + server.break_after
            self.wfile.write(body[start:stop])

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    behaviour = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(behaviour))
    behaviour.url = f"http://127.0.0.1:{http.server_port}/somewhere/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield behaviour
    http.shutdown()
    thread.join()
    http.server_close()


def fetch(server: Server, cache: Path) -> tuple[Path, Path]:
    return fetch_cifar102(cache, Silent(), server.url, IDS)


def whole(cache: Path) -> bool:
    held = {path.name: path.read_bytes() for path in cache.iterdir()}
    return held == CONTENT


def test_the_blob_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    # The id every git gives a file of this one line.
    assert git_blob_id(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"
    (tmp_path / "b").write_bytes(CONTENT[TRAIN])
    command = ["git", "hash-object", "--no-filters", str(tmp_path / "b")]
    assert git_blob_id(tmp_path / "b") == subprocess.check_output(command, text=True).strip()


def test_the_ids_are_those_of_the_repository() -> None:
    assert BLOBS == {
        TRAIN: "817ff5f62c570547b0bc84fbab178842eb999503",
        TEST: "7a3829681be56af70ea80ec99cf3822e2f5edff3",
    }
    assert cifar102.BASE_URL == (
        "https://raw.githubusercontent.com/modestyachts/cifar-10.2/master/"
    )


def test_both_files_arrive_and_are_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "made" / "here"
    assert fetch(server, cache) == (cache / TRAIN, cache / TEST)
    assert whole(cache)
    assert server.asked == [(TRAIN, None), (TEST, None)]
    server.asked.clear()
    assert fetch(server, cache) == (cache / TRAIN, cache / TEST)
    assert server.asked == []


def test_an_address_without_its_last_slash(server: Server, tmp_path: Path) -> None:
    server.url = server.url.rstrip("/")
    fetch(server, tmp_path)
    assert whole(tmp_path)


def test_a_broken_download_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = 100_000
    with pytest.raises(
        DownloadError, match=r"broke.* after 100,000 of 256,000 bytes; the same command continues"
    ):
        fetch(server, tmp_path)
    assert not (tmp_path / TRAIN).exists()
    assert (tmp_path / f"{TRAIN}.part").stat().st_size == 100_000
    server.break_after = None
    fetch(server, tmp_path)
    assert server.asked == [(TRAIN, None), (TRAIN, "bytes=100000-"), (TEST, None)]
    assert whole(tmp_path)


def test_only_the_missing_bytes_are_sent(server: Server, tmp_path: Path) -> None:
    # The part file's beginning is kept as it is, so the server cannot have sent it again.
    (tmp_path / f"{TRAIN}.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="is not the expected one"):
        fetch(server, tmp_path)
    wrong = b"x" * 1000 + CONTENT[TRAIN][1000:]
    (tmp_path / f"{TRAIN}.part").write_bytes(b"x" * 1000)
    fetch_cifar102(tmp_path, Silent(), server.url, {TRAIN: blob_id(wrong)})
    assert (tmp_path / TRAIN).read_bytes() == wrong


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / f"{TRAIN}.part").write_bytes(CONTENT[TRAIN][:5000])
    fetch(server, tmp_path)
    assert server.asked[0] == (TRAIN, "bytes=5000-")
    assert whole(tmp_path)


@pytest.mark.parametrize("held", [b"y" * 256_000, b"y" * 300_000])
def test_a_part_that_is_too_long_starts_over(server: Server, tmp_path: Path, held: bytes) -> None:
    (tmp_path / f"{TRAIN}.part").write_bytes(held)
    fetch(server, tmp_path)
    assert server.asked[:2] == [(TRAIN, f"bytes={len(held)}-"), (TRAIN, None)]
    assert whole(tmp_path)


def test_a_whole_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        (tmp_path / f"{name}.part").write_bytes(content)
    fetch(server, tmp_path)
    assert server.asked == []
    assert whole(tmp_path)


def test_wrong_content_is_deleted_and_named(server: Server, tmp_path: Path) -> None:
    server.content[TEST] = b"Not Found"
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{server.url}{TEST}: its content is not the expected one")
    assert blob_id(b"Not Found") in message
    assert IDS[TEST] in message
    assert [path.name for path in tmp_path.iterdir()] == [TRAIN]


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / TEST).write_bytes(b"damaged")
    fetch(server, tmp_path)
    assert whole(tmp_path)


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        # Bound but not listening: every connection is refused.
        with pytest.raises(DownloadError) as caught:
            fetch_cifar102(tmp_path, Silent(), url, IDS)
    message = str(caught.value)
    assert message.startswith(f"{url}{TRAIN}: cannot be reached (")
    assert "seewhy run cifar102_train.npz --test cifar102_test.npz" in message
    assert "\n" not in message


def test_a_server_that_says_no(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="the server answers 404 Not Found"):
        fetch(server, tmp_path)


def test_a_server_that_says_no_length(server: Server, tmp_path: Path) -> None:
    server.say_length = False
    fetch(server, tmp_path)
    assert whole(tmp_path)


def test_a_server_that_never_answers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar102, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DownloadError, match=r"cannot be reached .*timed out"):
            start = time.monotonic()
            fetch_cifar102(tmp_path, Silent(), url, IDS)
    # Far from the time-out that is usual: what was set is what was heeded.
    assert time.monotonic() - start < 20


def test_a_file_without_end_is_cut_off(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar102, "MAX_BYTES", 100_000)
    server.say_length = False
    arrived: list[int] = []

    class Counting(Silent):
        @contextmanager
        def task(self, name: str, total: int) -> Iterator[Advance]:
            yield arrived.append

    with pytest.raises(DownloadError, match="is longer than"):
        fetch_cifar102(tmp_path, Counting(), server.url, IDS)
    assert 100_000 < sum(arrived) <= 100_000 + cifar102.CHUNK
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_other_schemes_are_refused(server: Server, tmp_path: Path, target: str) -> None:
    with pytest.raises(DownloadError, match="expected an http or https address"):
        fetch_cifar102(tmp_path, Silent(), target, IDS)
    server.redirect = target
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    moved = Server(redirect=None)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(moved))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        server.redirect = f"http://127.0.0.1:{http.server_port}/{TRAIN}"
        (tmp_path / f"{TRAIN}.part").write_bytes(CONTENT[TRAIN][:7])
        fetch_cifar102(tmp_path, Silent(), server.url, {TRAIN: IDS[TRAIN]})
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
    assert moved.asked == [(TRAIN, "bytes=7-")]
    assert (tmp_path / TRAIN).read_bytes() == CONTENT[TRAIN]


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(DownloadError, match=r"cannot be written .*SEEWHY_CACHE"):
        fetch(server, tmp_path / "cache")
