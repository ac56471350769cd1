"""``astune data download``, against a server on this machine: whole, interrupted, resumed, wrong, unsafe."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from astune.data import load_data
from astune.data.download.fetch import fetch
from astune.data.download.published import SOURCES, download
from astune.errors import ConfigError, DataError, OutputError
from astune.files import write_text
from astune.folder_lock import hold
from astune.printable import printable
from tests.example_layouts import write_esc50, write_speech_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Site:
    """What the server has, how it misbehaves, and what it was asked."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    lengths: bool = True
    break_after: list[int] = field(default_factory=list)
    """Bytes of the body after which each of the next answers ends early."""
    refuse: list[int] = field(default_factory=list)
    """Status codes of the next answers."""
    stated: str | None = None
    """The Content-Length, where it is not that of the body."""
    heeds: bool = True
    """Whether If-Range is read."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        asked = self.headers.get("Range")
        site.asked.append(asked)
        self.close_connection = True
        if site.refuse:
            self.send_error(site.refuse.pop(0))
            return
        start = 0
        if asked and site.ranges and (not site.heeds or self.headers.get("If-Range") == site.etag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(site.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.answer(site, start)

    def answer(self, site: Site, start: int) -> None:
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.lengths:
            self.send_header("Content-Length", site.stated or str(len(body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        whole = not site.break_after
        sent = body if whole else body[: site.break_after.pop(0)]
        if site.lengths:
            self.wfile.write(sent)
        else:
            self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n" + (b"0\r\n\r\n" if whole else b""))

    @override
    def log_message(self, *given: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("astune.data.download.fetch._PAUSE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(url=f"http://127.0.0.1:{server.server_port}/archive")
        server.site = served  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def zipped(folder: Path, root: str = "ESC-50-master/") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{root}{path.relative_to(folder)}")
    return stream.getvalue()


@pytest.fixture(scope="module")
def esc50_zip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return zipped(write_esc50(tmp_path_factory.mktemp("published")))


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        work()
    return str(caught.value)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_published_places() -> None:
    assert set(SOURCES) == {"esc50", "speech_commands"}
    assert all(source.url.startswith("https://") for source in SOURCES.values())
    assert SOURCES["esc50"].sha256 is None  # GitHub makes the archive on demand
    assert len(SOURCES["speech_commands"].sha256 or "") == 64


def test_esc50_from_a_zip_with_a_folder_at_its_root(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content, site.lengths, site.etag = esc50_zip, False, None  # as GitHub sends it
    dataset = download("esc50", tmp_path / "here" / "ESC-50", site.url, quiet=True)
    assert dataset.source == f"esc50:{tmp_path / 'here' / 'ESC-50'}"
    assert (len(dataset.clips), len(dataset.labels)) == (20, 2)
    assert entries(tmp_path / "here") == ["ESC-50"]  # nothing left beside it
    assert entries(tmp_path / "here" / "ESC-50") == ["audio", "meta"]


def test_speech_commands_from_a_tar_without_one(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = write_speech_commands(tmp_path / "published", suffix=".wav")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        file.add(published, ".")
    site.content = stream.getvalue()
    digest = hashlib.sha256(site.content).hexdigest()
    dataset = download("speech_commands", tmp_path / "sc", site.url, digest.upper())
    assert [clip.name for clip in dataset.clips] == [clip.name for clip in load_data(published).clips]
    printed = capsys.readouterr()
    assert digest in printed.err
    assert printed.out == ""


def test_a_broken_connection_is_taken_up_in_the_same_call(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content, site.break_after = esc50_zip, [1000, 500]
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == esc50_zip
    assert site.asked == [None, "bytes=1000-", "bytes=1500-"]


def test_a_later_call_goes_on_from_what_is_kept(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content, site.break_after, site.refuse = esc50_zip, [700], []
    site.break_after += [0] * 4
    message = refusal(lambda: download("esc50", tmp_path / "esc", site.url, quiet=True))
    assert "700 bytes are kept, and the same command goes on from there" in message
    assert entries(tmp_path) == ["esc.partial"]
    site.asked.clear()
    download("esc50", tmp_path / "esc", site.url, quiet=True)
    assert site.asked == ["bytes=700-"]
    assert entries(tmp_path) == ["esc"]


def test_a_download_that_was_whole_is_not_repeated(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content = esc50_zip
    for _ in range(2):
        fetch(site.url, tmp_path / "file", quiet=True)
    assert site.asked == [None, f"bytes={len(esc50_zip)}-"]
    assert (tmp_path / "file").read_bytes() == esc50_zip


def test_a_file_that_changed_on_the_server_starts_anew(site: Site, tmp_path: Path) -> None:
    site.content, site.break_after = b"a" * 5000, [2000, 0, 0, 0, 0]
    refusal(lambda: fetch(site.url, tmp_path / "file", quiet=True))
    site.content, site.etag, site.break_after = b"b" * 5000, '"two"', []
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == b"b" * 5000


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"', None])
def test_a_server_without_ranges_or_proof_starts_anew(site: Site, tmp_path: Path, etag: str | None) -> None:
    site.content, site.ranges, site.etag, site.break_after = bytes(range(256)) * 20, False, etag, [2000]
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == site.content
    assert site.asked == [None, "bytes=2000-" if etag == '"one"' else None]


def test_another_url_does_not_go_on_with_the_first(site: Site, tmp_path: Path) -> None:
    site.content = b"a" * 3000
    fetch(site.url, tmp_path / "file", quiet=True)
    fetch(f"{site.url}?mirror", tmp_path / "file", quiet=True)
    assert site.asked == [None, None]


def test_a_wrong_checksum_is_said_and_nothing_stays(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content = esc50_zip
    found, wanted = hashlib.sha256(esc50_zip).hexdigest(), "0" * 64
    message = refusal(lambda: download("esc50", tmp_path / "esc", site.url, wanted, quiet=True))
    assert f"SHA-256 is {found}, and should be {wanted}" in message
    assert entries(tmp_path) == []
    # the published checksum holds for a mirror too
    message = refusal(lambda: download("speech_commands", tmp_path / "sc", site.url, quiet=True))
    assert f"should be {SOURCES['speech_commands'].sha256}" in message


def test_refusals_of_the_server(site: Site, tmp_path: Path) -> None:
    site.refuse = [404]
    message = refusal(lambda: download("esc50", tmp_path / "esc", site.url, quiet=True))
    assert f"{site.url} answered 404 Not Found; set url=URL to another address" in message
    assert len(site.asked) == 1
    assert entries(tmp_path) == []
    site.refuse = [503, 429]
    site.content = b"whole"
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == b"whole"
    site.refuse = [500] * 9
    assert "the server answered 500" in refusal(lambda: fetch(f"{site.url}?other", tmp_path / "none", quiet=True))


def test_nobody_answers(tmp_path: Path, site: Site) -> None:
    message = refusal(lambda: fetch("http://127.0.0.1:9/archive", tmp_path / "file", quiet=True))
    assert "cannot be downloaded" in message
    assert "is not an http or https URL" in refusal(lambda: fetch("file:///etc/passwd", tmp_path / "file", quiet=True))


def test_what_is_there_is_left_alone(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    message = refusal(lambda: download("esc50", tmp_path / "mine", site.url, quiet=True))
    assert "is there already" in message
    assert entries(tmp_path / "mine") == ["notes.txt"]
    assert site.asked == []
    (tmp_path / "empty").mkdir()
    site.content = esc50_zip
    assert len(download("esc50", tmp_path / "empty", site.url, quiet=True).clips) == 20


def test_two_downloads_into_one_folder(site: Site, tmp_path: Path) -> None:
    (tmp_path / "esc.partial").mkdir()
    with hold(tmp_path / "esc.partial" / "lock"):
        message = refusal(lambda: download("esc50", tmp_path / "esc", site.url, quiet=True))
    assert "another process is downloading into" in message
    assert f"(process {os.getpid()} on " in message


def test_names_and_checksums_are_checked_first(tmp_path: Path, site: Site) -> None:
    with pytest.raises(ConfigError, match="unknown data set 'esc-50'; choose one of: esc50, speech_commands"):
        download("esc-50", tmp_path / "esc", site.url, quiet=True)
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        download("esc50", tmp_path / "esc", site.url, "abc", quiet=True)
    assert site.asked == []


def test_another_archive_is_not_taken_for_the_data_set(site: Site, tmp_path: Path) -> None:
    site.content = zipped(write_speech_commands(tmp_path / "published"))
    message = refusal(lambda: download("esc50", tmp_path / "out" / "esc", site.url, quiet=True))
    assert "esc50:PATH expects" in message
    assert entries(tmp_path / "out") == []


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"PK\x03\x04 cut off", b"\x1f\x8b\x08\x00 no gzip"])
def test_what_is_no_archive(site: Site, tmp_path: Path, content: bytes) -> None:
    site.content = content
    message = refusal(lambda: download("esc50", tmp_path / "esc", site.url, quiet=True))
    assert "is neither a zip nor a tar archive" in message or "is damaged" in message
    assert entries(tmp_path) == []


def _cut_in_a_sound(whole: bytes) -> bytes:
    at = whole.index(b"1-10001-A-0.wav") + 60
    return whole[:at] + bytes(8) + whole[at + 8 :]


def _named(name: str) -> Callable[[bytes], bytes]:
    def made(whole: bytes) -> bytes:
        stream = io.BytesIO(whole)
        with zipfile.ZipFile(stream, "a") as file:
            file.writestr(zipfile.ZipInfo(name), b"x")
        return stream.getvalue()

    return made


USELESS: dict[str, Callable[[bytes], bytes]] = {
    "bytes of a sound are lost": _cut_in_a_sound,
    "cut short": lambda whole: whole[:-100],
    "xz": lambda whole: b"\xfd7zXZ\0" + whole,
    "bz2": lambda whole: b"BZh9" + whole,
    "gzip": lambda whole: gzip.compress(whole)[:-50],
    "a name that no system has": _named("x" * 300),
    "no name": _named(""),
    "outside": _named("../up"),
}


@pytest.mark.parametrize("case", USELESS)
def test_a_useless_archive_is_deleted_so_that_the_same_command_works_next_time(
    site: Site, tmp_path: Path, esc50_zip: bytes, case: str
) -> None:
    site.content = USELESS[case](esc50_zip)
    message = refusal(lambda: download("esc50", tmp_path / "out" / "esc", site.url, quiet=True))
    assert "is damaged" in message or "is not safe" in message or "neither a zip nor a tar" in message
    assert entries(tmp_path / "out") == []
    site.content = esc50_zip
    assert len(download("esc50", tmp_path / "out" / "esc", site.url, quiet=True).clips) == 20
    assert site.asked == [None, None]


def _only(free: int) -> Callable[[object], SimpleNamespace]:
    return lambda _: SimpleNamespace(free=free)


def test_too_little_room_for_the_archive(
    site: Site, tmp_path: Path, esc50_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = esc50_zip
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", _only(99))
        with pytest.raises(OutputError, match=r"has .* bytes, and 99 are free at .*esc\.partial"):
            download("esc50", tmp_path / "esc", site.url, quiet=True)
    assert entries(tmp_path) == []
    assert len(download("esc50", tmp_path / "esc", site.url, quiet=True).clips) == 20


def test_too_little_room_for_its_content_keeps_the_archive(
    site: Site, tmp_path: Path, esc50_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = esc50_zip
    download("esc50", tmp_path / "unpacked", site.url, quiet=True)
    with monkeypatch.context() as full:
        full.setattr("astune.data.download.archive.shutil", SimpleNamespace(disk_usage=_only(10_000)))
        with pytest.raises(OutputError, match=r"needs .* bytes or more when it is unpacked, and 10,000 are free"):
            download("esc50", tmp_path / "esc", site.url, quiet=True)
    assert entries(tmp_path) == ["esc.partial", "unpacked"]
    site.asked.clear()
    assert len(download("esc50", tmp_path / "esc", site.url, quiet=True).clips) == 20
    assert site.asked == [f"bytes={len(esc50_zip)}-"]  # it was whole already


NOTES = [
    "", "{", "[1]", "null", '"validator"', "[" * 50_000, "{}", '{"url": 1, "validator": 2}', "\udcff",
    '{"url": "URL", "validator": "\\r\\nX-Injected: 1"}', '{"url": "URL", "validator": "\\ud800"}',
    '{"url": "URL", "validator": ["\\"one\\""]}', '{"url": "URL", "validator": "W/\\"one\\""}',
    '{"url": "URL", "validator": "' + "x" * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("note", NOTES, ids=lambda note: repr(note[:40]))
def test_a_damaged_note_starts_from_the_beginning(site: Site, tmp_path: Path, note: str) -> None:
    site.content = b"new" * 1000
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file.json").write_text(note.replace("URL", site.url), errors="surrogateescape")
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == site.content
    assert site.asked == [None]


def test_the_note_of_a_new_file_is_never_beside_the_bytes_of_the_old_one(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content, site.break_after = b"a" * 5000, [2000, 0, 0, 0, 0]
    refusal(lambda: fetch(site.url, tmp_path / "file", quiet=True))

    def write_and_die(path: Path, text: str) -> None:
        write_text(path, text)
        raise KeyboardInterrupt

    site.content, site.etag, site.break_after = b"b" * 5000, '"two"', []
    with monkeypatch.context() as dying:
        dying.setattr("astune.data.download.fetch.write_text", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            fetch(site.url, tmp_path / "file", quiet=True)
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == b"b" * 5000


def test_a_server_that_goes_on_with_another_file(site: Site, tmp_path: Path) -> None:
    site.content, site.break_after = b"a" * 5000, [2000, 0, 0, 0, 0]
    refusal(lambda: fetch(site.url, tmp_path / "file", quiet=True))
    site.content, site.etag, site.break_after, site.heeds = b"b" * 5000, '"two"', [], False
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == b"b" * 5000
    assert site.asked[-2:] == ["bytes=2000-", None]


@pytest.mark.parametrize(
    "url", ["http://[::1/archive", "http://a b/", "http://h:port/", "http://127.0.0.1/\u00e4", "http://", "http://h\n/"]
)
def test_what_is_not_a_url_is_refused(tmp_path: Path, url: str, site: Site) -> None:
    assert printable(url) in refusal(lambda: fetch(url, tmp_path / "file", quiet=True))


@pytest.mark.parametrize("stated", ["-1", "many", "1e3", "9" * 5000])
def test_a_length_that_is_not_a_number(site: Site, tmp_path: Path, stated: str) -> None:
    site.content, site.stated = b"whole", stated
    fetch(site.url, tmp_path / "file", quiet=True)
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_the_command(site: Site, tmp_path: Path, esc50_zip: bytes) -> None:
    site.content = esc50_zip
    code = "import sys; from astune.cli import app; app(standalone_mode=False); sys.exit(9 if 'torch' in sys.modules else 0)"
    command = ["data", "download", "esc50", str(tmp_path / "esc"), "--url", site.url]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout == f"esc50:{tmp_path / 'esc'}: 20 clips, 2 classes\n"
    assert f"SHA-256 {hashlib.sha256(esc50_zip).hexdigest()} (no published one to compare it with)" in done.stderr
