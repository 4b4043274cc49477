"""Speech synthesis by eSpeak NG as a command-line filter: `python espeak.py FOLDER < REQUESTS > SAMPLES`.

FOLDER has the shared library and `espeak-ng-data`. REQUESTS is a JSON list of [voice, speed in words per minute, pitch
from 0 to 99, text]. SAMPLES starts with the sample rate in Hz; then for each request the number of samples and the
samples. Numbers are 32-bit, samples 16-bit, both little-endian.

The output depends on the whole list of requests: the library keeps oscillator phases from one text to the next.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

NAMES = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
SYNCHRONOUS = 2  # output mode: samples go to the callback only, and each call returns when its text is finished
DONT_EXIT = 0x8000
RATE, PITCH = 1, 3
BY_CHARACTER, UTF8 = 1, 1

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """The loaded library; only one per process."""

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(folder / NAMES.get(sys.platform, "libespeak-ng.so")))
        self.library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]
        os.chdir(folder)  # the library limits the length of its data path
        self.rate: int = self.library.espeak_Initialize(SYNCHRONOUS, 0, b".", DONT_EXIT)
        if self.rate <= 0:
            sys.exit(f"eSpeak NG does not start in {folder}")
        self.samples = bytearray()
        self.callback = Callback(self._keep)  # a reference, so that it is not garbage-collected while in use
        self.library.espeak_SetSynthCallback(self.callback)

    def _keep(self, samples: int | None, count: int, _: int | None) -> int:
        if samples and count > 0:
            self.samples += ctypes.string_at(samples, 2 * count)
        return 0

    def synthesize(self, voice: str, speed: int, pitch: int, text: str) -> bytes:
        """16-bit samples of `text`. Exits with an error message for an unknown voice."""
        _, plus, variant = voice.partition("+")
        # The library silently ignores an unknown variant.
        known = not plus or Path("espeak-ng-data", "voices", "!v", variant).is_file()
        if not known or self.library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"eSpeak NG has no voice {voice!r}")
        self.library.espeak_SetParameter(RATE, speed, 0)
        self.library.espeak_SetParameter(PITCH, pitch, 0)
        self.library.espeak_ng_SetRandSeed(1)  # without it, noise in the voice is seeded by the time of day
        self.samples.clear()
        encoded = text.encode()
        if self.library.espeak_Synth(encoded, len(encoded) + 1, 0, BY_CHARACTER, 0, UTF8, None, None):
            sys.exit(f"eSpeak NG cannot synthesize {text!r}")
        return bytes(self.samples)


def main(folder: Path, sink: BinaryIO) -> None:
    """Synthesize the requests on standard input and write the samples to `sink`."""
    speaker = Speaker(folder)
    sink.write(speaker.rate.to_bytes(4, "little"))
    for voice, speed, pitch, text in json.load(sys.stdin):
        samples = speaker.synthesize(voice, speed, pitch, text)
        sink.write((len(samples) // 2).to_bytes(4, "little") + samples)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.stdout.buffer)
