"""Compiled functions on disk, in the cache folder of seqgen.

numba's own cache lies beside the sources, takes the time stamp of one of several source files for that of all, cannot
do without a folder to write to, and raises where a file in it is damaged. The files are as trustworthy as the folder,
which is the user's own: they are machine code.
"""

# mypy: ignore-errors

import contextlib
import hashlib
import logging
import shutil
import time
from pathlib import Path

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from seqgen.media.files import cache
from seqgen.outputs.gaussians import BISECTIONS
from seqgen.outputs.mixture import MAX_LOG_SCALE

LOG = logging.getLogger("seqgen")
COMPILED = ("cache", "checksum", "draws", "kernel", "vectors")
"""Modules of this package with compiled functions, and this one."""
UNUSED = 30 * 24 * 3600
"""Seconds after which a folder of another version is deleted."""


def stamp() -> str:
    """A hash of everything that is compiled and of the compiler."""
    found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {BISECTIONS} {MAX_LOG_SCALE}".encode())
    for name in COMPILED:
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return found.hexdigest()[:16]


class Locator(_CacheLocator):
    """Where the files of a function are."""

    def __init__(self, function, file) -> None:
        self._py_file = file
        self.folder = cache() / "compiled" / stamp()

    @classmethod
    def from_function(cls, function, file):
        """Always this folder."""
        return cls(function, file)

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self.folder)

    def get_source_stamp(self) -> str:
        """The folder is named after the stamp, so files in it are never out of date."""
        return self.folder.name

    def get_disambiguator(self) -> str:
        """Functions have different names."""
        return ""


class Implementation(CompileResultCacheImpl):
    """numba's serialization with our folder."""

    _locator_classes = (Locator,)


class Cache(FunctionCache):
    """A cache that never fails: what cannot be read is deleted and compiled again, what cannot be written is not."""

    _impl_class = Implementation

    def load_overload(self, signature, target):
        """The compiled function for a signature, or None."""
        try:
            found = super().load_overload(signature, target)
        except Exception as error:  # whatever a damaged file may raise
            LOG.debug("the compiled sampler in %s cannot be used: %s", self._cache_path, error)
            shutil.rmtree(self._cache_path, ignore_errors=True)
            found = None
        if found is None and self.told:
            LOG.warning("note: compiling the sampler for this processor and type of weights, once; it takes about 10 s")
        return found

    def save_overload(self, signature, result) -> None:
        """Write it, if the folder can be written."""
        with contextlib.suppress(Exception):
            place = Path(self._cache_path)
            place.mkdir(parents=True, exist_ok=True)
            for other in place.parent.iterdir():  # of other versions, which nobody has compiled for in weeks
                if time.time() - other.stat().st_mtime > UNUSED:
                    shutil.rmtree(other, ignore_errors=True)
            super().save_overload(signature, result)


def cached(function, told=True):
    """A function of numba's `njit` that is compiled once for all processes, `told` in a line."""
    function._cache = Cache(function.py_func)
    function._cache.told = told
    return function
