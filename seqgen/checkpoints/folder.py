"""A model on disk: a folder of safetensors, config.json and a manifest with the SHA-256 of each."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.media.files import write_atomically

FORMAT = 1
WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"
CALIBRATION = "calibration.safetensors"
TRAINING_TEXTS = "training.hashes"
"""These two a checkpoint may have or not."""
EXAMPLES = "examples"
"""A subfolder of files to condition the model on; for people, not part of the checkpoint."""
ATTEMPTS = 100
"""To read a checkpoint that is replaced again and again."""
LOOKS = 10
"""To find one: between two looks, at the folder and at where the earlier one is kept, a writer may swap them."""
BUNDLED = Path(__file__).parent / "bundled"
"""The models that come with the package, a checkpoint folder each."""


class CheckpointError(SeqgenError):
    """A checkpoint that cannot be used; the message says which file and why."""


class Contents(NamedTuple):
    """What is in a checkpoint: tensors, config, and, if it has them, calibration and hashes of the training texts."""

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    calibration: Mapping[str, Tensor] | None = None
    training_texts: bytes | None = None


def write(folder: Path, contents: Contents) -> None:
    """Write a checkpoint as a whole or not at all: into a temporary folder beside it, synced, then renamed.

    An earlier checkpoint of that name stays as it is until the new one is complete.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        files = {
            WEIGHTS: _tensors(contents.tensors),
            CONFIG: _json({"format": FORMAT, **contents.config}),
            **({} if contents.calibration is None else {CALIBRATION: _tensors(contents.calibration)}),
            **({} if contents.training_texts is None else {TRAINING_TEXTS: contents.training_texts}),
        }
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for name, content in {**files, MANIFEST: _json(hashes)}.items():
            write_atomically(temporary / name, content)
        _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _tensors(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _swap(new: Path, folder: Path) -> None:
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.rename(folder, old)
    os.rename(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def _old(folder: Path) -> Path:
    """Where `write` keeps the earlier checkpoint for the instant between its two renames."""
    return folder.parent / f".{folder.name}-old"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def find(path: str | Path) -> Path:
    """The checkpoint folder that `path` names: itself, `model/` in a run folder, or else a bundled model.

    Raises CheckpointError.
    """
    path, known = Path(path), bundled()
    for folder in (path / "model", path) * LOOKS:
        if os.path.isfile(folder / MANIFEST):  # unlike Path.is_file, False for a name that is too long
            return folder
        if os.path.isfile(_old(folder.absolute()) / MANIFEST):  # a writer is, or died, between its two renames
            return _old(folder.absolute())
    if str(path) in known:
        return known[str(path)]
    what = "holds no model/manifest.json" if os.path.isdir(path) else "is no folder"
    others = f", or one of {', '.join(known)}" if known else ""
    raise CheckpointError(f"no model at {str(path)!r}: it {what}; expected a run folder or its model/ folder{others}")


def examples(folder: Path) -> list[Path]:
    """The files that come with a checkpoint for people to condition it on."""
    return sorted(path for path in (folder / EXAMPLES).glob("[!.]*") if path.is_file())


def bundled() -> dict[str, Path]:
    """The models that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob(f"*/{MANIFEST}"))}


def load(path: str | Path) -> tuple[Path, Contents]:
    """The checkpoint folder that a path names, and its contents, also while another process replaces it.

    Raises CheckpointError as `find` and `read` do.
    """
    for _ in range(ATTEMPTS):
        folder = find(path)
        before = _state(folder)
        try:
            return folder, read(folder)
        except CheckpointError:
            if before == _state(folder) and folder == find(path):  # nobody is writing: it is damaged
                raise
    raise CheckpointError(f"{path} was replaced {ATTEMPTS} times while it was read")


def _state(folder: Path) -> tuple[int, int] | None:
    """What changes when a folder is replaced by another."""
    try:
        state = os.stat(folder / MANIFEST)
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def read(folder: Path) -> Contents:
    """What is in a checkpoint folder, every byte checked against the manifest.

    Raises CheckpointError for a missing, altered or truncated file, and for a format that this version cannot read.
    """
    with contextlib.ExitStack() as stack:
        # All are opened before the first is read: open files stay readable when another process replaces the folder.
        opened = {
            name: _open(folder / name, stack) for name in (MANIFEST, WEIGHTS, CONFIG, CALIBRATION, TRAINING_TEXTS)
        }
        return _contents(folder, opened)


def _contents(folder: Path, opened: Mapping[str, BinaryIO | OSError]) -> Contents:
    hashes = _parse(folder / MANIFEST, _bytes(folder / MANIFEST, opened[MANIFEST]))
    if not {WEIGHTS, CONFIG} <= set(hashes) <= {WEIGHTS, CONFIG, CALIBRATION, TRAINING_TEXTS}:
        raise CheckpointError(f"{folder / MANIFEST} lists {sorted(hashes)}, expected {[CONFIG, WEIGHTS]}")
    contents = {name: _verified(folder / name, opened[name], expected) for name, expected in hashes.items()}
    config = _parse(folder / CONFIG, contents[CONFIG])
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{folder / CONFIG} has format {config.get('format')!r}, this version reads {FORMAT}")
    tensors = {
        name: _load(folder / name, content) for name, content in contents.items() if name in (WEIGHTS, CALIBRATION)
    }
    return Contents(tensors[WEIGHTS], config, tensors.get(CALIBRATION), contents.get(TRAINING_TEXTS))


def _load(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from None


def _open(path: Path, stack: contextlib.ExitStack) -> BinaryIO | OSError:
    """The open file, or why it cannot be opened: it may be one that the checkpoint does without."""
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        return error


def _bytes(path: Path, opened: BinaryIO | OSError) -> bytes:
    try:
        if isinstance(opened, OSError):
            raise opened
        return opened.read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _verified(path: Path, opened: BinaryIO | OSError, expected: Any) -> bytes:
    content = _bytes(path, opened)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is {found[:12]}..., the manifest says {expected!s:.12}..."
        )
    return content


def _refuse(constant: str) -> None:
    raise SeqgenError(f"{constant} is no JSON number")


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected an object")
    return value
