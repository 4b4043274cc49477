"""Downloads come whole and right or not at all, and archives stay in their folder."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seqgen.data import fetch
from seqgen.data.fetch import FetchError, cached_text, extract, http, member, names, wheel

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Handler(BaseHTTPRequestHandler):
    """/file is the content, /wrong other bytes, /broken half of what it promises, and the rest is missing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path not in ("/file", "/wrong", "/broken"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = CONTENT[::-1] if self.path == "/wrong" else CONTENT
        self.wfile.write(body[: len(body) // 2] if self.path == "/broken" else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server of this machine that keeps a list of what was asked for."""

    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# The cache


def test_cache_is_where_the_environment_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.cache() == cache
    monkeypatch.setenv("SEQGEN_CACHE", "~/somewhere")
    assert fetch.cache() == Path.home() / "somewhere"
    monkeypatch.delenv("SEQGEN_CACHE")
    assert fetch.cache().name == "seqgen"


# A file by its address


def test_http_downloads_once(server: Server, cache: Path) -> None:
    path = http(f"{server.url}/file", SHA256)
    assert path.read_bytes() == CONTENT
    assert http(f"{server.url}/file", SHA256) == path
    assert server.asked == ["/file"]
    assert files(cache) == [f"downloads/{SHA256[:8]}-file"]


def test_http_needs_no_network_when_the_cache_is_warm(server: Server) -> None:
    path = http(f"{server.url}/file", SHA256, name="data.bin")
    assert path.name.endswith("data.bin")
    assert http("http://127.0.0.1:1/gone", SHA256, name="data.bin") == path


def test_http_mends_a_corrupt_file(server: Server) -> None:
    path = http(f"{server.url}/file", SHA256)
    path.write_bytes(CONTENT[:-1])
    assert http(f"{server.url}/file", SHA256).read_bytes() == CONTENT
    assert server.asked == ["/file", "/file"]


@pytest.mark.parametrize("page", ["wrong", "broken", "missing"])
def test_http_keeps_nothing_that_is_wrong(server: Server, cache: Path, page: str) -> None:
    with pytest.raises(FetchError) as caught:
        http(f"{server.url}/{page}", SHA256)
    reason = {"wrong": "SHA256 hash of downloaded file", "broken": "no answer", "missing": "404"}
    assert reason[page] in str(caught.value)
    assert files(cache) == []
    assert list((cache / "downloads").iterdir()) == []


def test_offline_with_a_cold_cache_says_what_to_do(cache: Path) -> None:
    with pytest.raises(FetchError) as caught:
        http("http://127.0.0.1:1/corpus.zip", SHA256)
    said = str(caught.value)
    for part in (
        "127.0.0.1:1/corpus.zip",
        SHA256,
        str(cache / "downloads" / f"{SHA256[:8]}-corpus.zip"),
        "SEQGEN_CACHE",
    ):
        assert part in said
    assert "\n" not in said
    assert "urllib3" not in said
    assert caught.value.__suppress_context__, "the traceback would show the layers below"


def test_a_file_put_into_the_cache_by_hand_is_used(cache: Path) -> None:
    with pytest.raises(FetchError):
        http("http://127.0.0.1:1/corpus.zip", SHA256)
    (cache / "downloads" / f"{SHA256[:8]}-corpus.zip").write_bytes(CONTENT)
    assert http("http://127.0.0.1:1/corpus.zip", SHA256).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_said(cache: Path, server: Server) -> None:
    cache.write_text("a file in the way")
    with pytest.raises(FetchError, match=r"cannot fetch .*/file: "):
        http(f"{server.url}/file", SHA256)


@pytest.mark.parametrize(
    ("url", "sha256", "name", "expected"),
    [
        ("file:///etc/hosts", SHA256, None, "expected http"),
        ("http://127.0.0.1:1/x", "abc", None, "expected 64 digits"),
        ("http://127.0.0.1:1/x", SHA256.upper(), None, "expected 64 digits"),
        ("http://127.0.0.1:1/x", SHA256, "../x", "expected a file name without a folder"),
        ("http://127.0.0.1:1/", SHA256, None, "expected a file name without a folder"),
    ],
)
def test_http_refuses_what_is_no_request(url: str, sha256: str, name: str | None, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        http(url, sha256, name)


def test_two_processes_may_fetch_at_once(server: Server, cache: Path) -> None:
    program = f"from seqgen.data.fetch import http; print(http('{server.url}/file', '{SHA256}'))"
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert said == {str(cache / "downloads" / f"{SHA256[:8]}-file")}
    assert files(cache) == [f"downloads/{SHA256[:8]}-file"]
    assert http(f"{server.url}/file", SHA256).read_bytes() == CONTENT


# A wheel


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nothing else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def build(folder: Path, tag: str = "py3-none-any") -> str:
    """The SHA-256 of the wheel tinywheel 1.0, whose import would fail."""
    path = folder / f"tinywheel-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("tinywheel/__init__.py", "raise RuntimeError('a wheel is never imported')")
        packed.writestr("tinywheel/data.txt", "the data")
        packed.writestr("tinywheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n")
        packed.writestr("tinywheel-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        packed.writestr("tinywheel-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("tag", ["py3-none-any", "cp311-cp311-manylinux_2_28_x86_64"])
def test_wheel_is_the_same_on_every_platform(registry: Path, cache: Path, tag: str) -> None:
    sha256 = build(registry, tag)
    path = wheel("tinywheel==1.0", sha256)
    assert path == cache / "downloads" / f"{sha256[:8]}-tinywheel-1.0.whl"
    with member(path, "tinywheel/data.txt") as stream:
        assert stream.read() == b"the data"
    for built in registry.iterdir():
        built.unlink()
    assert wheel("tinywheel==1.0", sha256) == path, "a warm cache needs no registry"


def test_wheel_with_another_hash_is_deleted(registry: Path, cache: Path) -> None:
    build(registry)
    with pytest.raises(FetchError, match=f"expected {SHA256}"):
        wheel("tinywheel==1.0", SHA256)
    assert files(cache) == []


def test_wheel_offline_with_a_cold_cache_says_what_to_do(registry: Path, cache: Path) -> None:
    with pytest.raises(FetchError) as caught:
        wheel("tinywheel==1.0", SHA256)
    said = str(caught.value)
    place = cache / "downloads" / f"{SHA256[:8]}-tinywheel-1.0.whl"
    for part in ("tinywheel==1.0", "pip download --no-deps", "No matching distribution", SHA256, str(place)):
        assert part in said
    assert "\n" not in said
    assert files(cache) == []


def test_wheel_without_pip_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\necho "{sys.executable}: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(FetchError, match="this Python has no pip"):
        wheel("tinywheel==1.0", SHA256)


@pytest.mark.parametrize("requirement", ["tinywheel", "tinywheel>=1.0", "--index-url=x==1", "../x==1.0", "x==1.0 y==2"])
def test_wheel_refuses_what_is_no_pinned_requirement(requirement: str) -> None:
    with pytest.raises(ValueError, match="expected name==version"):
        wheel(requirement, SHA256)


# Archives


def zipped(path: Path, *entries: tuple[str, int, bytes]) -> Path:
    """A zip archive of (name, Unix mode with the kind, content); mode 0 is an archive that knows no modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's, for a name that stands twice
        for name, mode, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tarred(path: Path, *entries: tuple[str, bytes, bytes]) -> Path:
    """A tar archive of (name, kind, content or target of a link)."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=["plain.zip", "modes.zip", "plain.tar", "packed.tar.gz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    if path.suffix == ".zip":
        file, folder = (0o100644, 0o040755) if path.stem == "modes" else (0, 0)
        return zipped(path, ("a/", folder, b""), ("a/one.txt", file, b"1"), ("two.txt", file, b"22"))
    folder_entry = ("a", tarfile.DIRTYPE, b"")
    return tarred(path, folder_entry, ("a/one.txt", tarfile.REGTYPE, b"1"), ("two.txt", tarfile.REGTYPE, b"22"))


def test_archives_are_read_in_place_and_unpacked(archive: Path, tmp_path: Path) -> None:
    assert names(archive) == ["a/one.txt", "two.txt"]
    with member(archive, "a/one.txt") as stream:
        assert stream.read() == b"1"
    assert extract(archive, tmp_path / "deep" / "out") == tmp_path / "deep" / "out"
    assert files(tmp_path / "deep") == ["out/a/one.txt", "out/two.txt"]
    assert (tmp_path / "deep/out/two.txt").read_bytes() == b"22"


def test_a_missing_member_is_named(archive: Path) -> None:
    with pytest.raises(FetchError, match=r"has no file 'three\.txt'"), member(archive, "three.txt"):
        pass


def test_extract_leaves_a_folder_that_is_there_alone(archive: Path, tmp_path: Path) -> None:
    out = extract(archive, tmp_path / "out")
    (out / "two.txt").write_bytes(b"mine")
    assert (extract(archive, out) / "two.txt").read_bytes() == b"mine"


OUTSIDE = ["../x", "a/../../x", "/x", "//host/share/x", "C:/x", "C:x", "\\x", "a\\..\\..\\x", ".."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_extract_refuses_a_name_outside_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    good = ("good", 0, b"ok")
    both = (
        zipped(tmp_path / "x.zip", good, (name, 0, b"bad")),
        tarred(tmp_path / "x.tar", ("good", tarfile.REGTYPE, b"ok"), (name, tarfile.REGTYPE, b"bad")),
    )
    for path in both:
        with pytest.raises(FetchError, match="outside the folder"):
            extract(path, tmp_path / "inner" / "out")
    assert files(tmp_path) == ["x.tar", "x.zip"], "all or nothing: the good file is not left behind either"


LINKS = [("/etc", tarfile.SYMTYPE), ("..", tarfile.SYMTYPE), ("good", tarfile.SYMTYPE), ("../../x", tarfile.LNKTYPE)]


@pytest.mark.parametrize(("target", "kind"), LINKS)
def test_extract_refuses_a_link_in_a_tar(target: str, kind: bytes, tmp_path: Path) -> None:
    entries = ("link", kind, target.encode()), ("link/passwd", tarfile.REGTYPE, b"bad")
    path = tarred(tmp_path / "x.tar", *entries)
    with pytest.raises(FetchError, match="'link' is of kind 'link or device'"):
        extract(path, tmp_path / "out")
    assert files(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_extract_refuses_a_device_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="link or device"):
        extract(tarred(tmp_path / "x.tar", ("null", kind, b"")), tmp_path / "out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_extract_refuses_a_link_or_device_in_a_zip(kind: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("link", kind | 0o777, b".."), ("link/x", 0, b"bad"))
    with pytest.raises(FetchError, match="'link' is of kind 'link or device'"):
        extract(path, tmp_path / "out")
    assert files(tmp_path) == ["x.zip"]


def test_extract_refuses_a_name_that_stands_twice(tmp_path: Path) -> None:
    for path in (
        zipped(tmp_path / "x.zip", ("x", 0, b"1"), ("x", 0, b"2")),
        zipped(tmp_path / "y.zip", ("x", 0, b"1"), ("x/y", 0, b"2")),
    ):
        with pytest.raises(FetchError, match="occurs twice"):
            extract(path, tmp_path / "out")


def test_extract_stops_a_bomb(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("a", 0, bytes(3 << 20)), ("b", 0, bytes(3 << 20)))
    assert path.stat().st_size < 10_000
    with pytest.raises(FetchError, match="more than the size limit"):
        extract(path, tmp_path / "out", limit=5 << 20)
    assert files(tmp_path) == ["x.zip"]
    assert files(extract(path, tmp_path / "out", limit=6 << 20)) == ["a", "b"]


def test_a_broken_archive_is_said(archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / f"broken{archive.suffix}"
    broken.write_bytes(archive.read_bytes()[: 1024 if archive.suffix == ".tar" else -40])
    with pytest.raises(FetchError, match="cannot be read as an archive"):
        extract(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Files that are made


def test_made_writes_once_for_each_key(cache: Path) -> None:
    calls = []

    def write(sink: io.TextIOBase) -> None:
        calls.append(sink.write("é\n"))

    first = cached_text("corpus.txt", ["a", 1], write)
    assert cached_text("corpus.txt", ["a", 1], write) == first
    assert cached_text("corpus.txt", ["a", 2], write) != first
    assert len(calls) == 2
    assert first.parent == cache / "corpora"
    assert (first.name[:7], first.suffix) == ("corpus-", ".txt")
    assert first.read_bytes() == b"\xc3\xa9\n"


def test_made_leaves_no_half_file(cache: Path) -> None:
    def write(sink: io.TextIOBase) -> None:
        sink.write("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_text("corpus.txt", None, write)
    assert list((cache / "corpora").iterdir()) == []
