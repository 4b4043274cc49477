"""The app in a process of its own, for the tests that speak to it, and Chromium for those that look at it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import torch

from seqgen.checkpoints.folder import EXAMPLES
from seqgen.codecs import MuLaw, Pixels, Table
from seqgen.inference.detect import Calibration
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel
from seqgen.models import NADE, PixelCNN, WaveNet
from seqgen.outputs import Bernoulli, Categorical, Gaussians
from seqgen.pipeline import Pipeline

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]


BLOCK = """
import importlib.abc, socket, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if f"{name}.".startswith(("lightning.", "pytorch_lightning.", "seqgen.data.")):
            raise ImportError(f"blocked import of {name}")

def local(function):
    def checked(*values, **named):
        host = values[1][0] if isinstance(values[0], socket.socket) else values[0]
        if isinstance(host, str) and host not in ("", "localhost", "0.0.0.0", "::1") and not host.startswith("127."):
            print(f"blocked connection to {host}", file=sys.stderr, flush=True)
            raise OSError(f"blocked connection to {host}")
        return function(*values, **named)
    return checked

sys.meta_path.insert(0, Blocked())
socket.socket.connect, socket.socket.connect_ex = local(socket.socket.connect), local(socket.socket.connect_ex)
socket.getaddrinfo = local(socket.getaddrinfo)
"""
"""A sitecustomize module, which Python imports before all others."""


class App(NamedTuple):
    """Where it answers, its process, the file that it prints to, and the seconds until its first page."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    seconds: float

    @property
    def folder(self) -> Path:
        """Where the tests keep its runs."""
        return self.log.parent

    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def memory(self) -> float:
        """Resident, in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000

    def finish(self, event: str, timeout: float = 120) -> str:
        """What comes of a call, all its server-sent events."""
        return httpx.get(f"{self.url}/gradio_api/call/{event}", timeout=timeout).text


@contextlib.contextmanager
def app(log: Path, runs: Sequence[Path] = (), arguments: Sequence[str] = (), **env: str) -> Iterator[App]:
    """`seqgen app RUNS` until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "seqgen.cli", "app", *map(str, runs), f"--port={port}", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    began = time.monotonic()
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=env) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield App(url, process, log, time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=30).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"no page within 240 s:\n{log.read_text()}")


def blocking(folder: Path) -> dict[str, str]:
    """The environment of a process without network, Lightning and data modules."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def vocoder(folder: Path) -> Path:
    """A small model, not trained, that is conditioned on the mel spectrum of a sound."""
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"layers": 2, "blocks": 1, "residual": 4, "gate": 4, "skip": 8, "end": 8, "condition": 3}
    model = WaveNet(Categorical(256), features=5, hop=40, **sizes)
    Pipeline(model, MuLaw(8000), features=LogMel(8000, mels=5, hop=40, window=80)).save_pretrained(folder / "model")
    (folder / "model" / EXAMPLES).mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(1600) / 8000)
    audio.write(folder / "model" / EXAMPLES / "clip-1.flac", Clip(tone.astype(np.float32), 8000))
    return folder


def painter(folder: Path, height: int = 6) -> Path:
    """A small model of pictures, not trained, with a label and a few scores to rank among."""
    torch.manual_seed(1)
    model = PixelCNN(Bernoulli(), [2], height=height, width=height - 1, gated=True, filters=4, depth=2, end=8)
    calibration = Calibration(torch.linspace(-2, 0, 19, dtype=torch.float64).expand(2, -1), torch.full((19,), 30.0))
    codec = Pixels(height, height - 1, levels=2)
    Pipeline(model, codec, {"kind": ["a", "b"]}, calibration=calibration).save_pretrained(folder / "model")
    return folder


def rows(folder: Path) -> Path:
    """A small model of a table of three columns, not trained, with a few scores to rank among."""
    torch.manual_seed(1)
    codec = Table(["height", "width", "depth"], [10, 1, 0], [2, 0.5, 1])
    calibration = Calibration(torch.linspace(-3, 0, 19, dtype=torch.float64).expand(1, -1), torch.full((19,), 3.0))
    model = NADE(Gaussians(2), dimensions=3, hidden=4)
    Pipeline(model, codec, calibration=calibration).save_pretrained(folder / "model")
    return folder


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium. Skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: as root, apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()
