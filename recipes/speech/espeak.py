"""eSpeak NG as a filter, in a process of its own: `python espeak.py FOLDER < REQUESTS > SAMPLES`.

FOLDER holds the shared library and `espeak-ng-data`. REQUESTS is a JSON list of [voice, speed in words a minute, pitch
from 0 to 99, text]. SAMPLES are 32-bit numbers and 16-bit samples, both little-endian: the sample rate in Hz, then for
each request how many samples it has, and these.

What comes out is a function of the whole list: the library carries phases of a voice on from one text to the next.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

NAMES = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
SYNCHRONOUS = 2  # samples go to the callback, and to no loudspeaker; a text is done when the call returns
DONT_EXIT = 0x8000
RATE, PITCH = 1, 3
BY_CHARACTER, UTF8 = 1, 1

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """The library, opened once; a process has one."""

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(folder / NAMES.get(sys.platform, "libespeak-ng.so")))
        self.library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]
        os.chdir(folder)  # the library has room for a short path only
        self.rate: int = self.library.espeak_Initialize(SYNCHRONOUS, 0, b".", DONT_EXIT)
        if self.rate <= 0:
            sys.exit(f"eSpeak NG does not start in {folder}")
        self.samples = bytearray()
        self.callback = Callback(self._keep)  # the library calls it later: it must not be collected before
        self.library.espeak_SetSynthCallback(self.callback)

    def _keep(self, samples: int | None, count: int, _: int | None) -> int:
        if samples and count > 0:
            self.samples += ctypes.string_at(samples, 2 * count)
        return 0

    def say(self, voice: str, speed: int, pitch: int, text: str) -> bytes:
        """16-bit samples of `text`. Ends the process when there is no such voice."""
        _, plus, variant = voice.partition("+")
        # The library ignores a variant that it has not got.
        known = not plus or Path("espeak-ng-data", "voices", "!v", variant).is_file()
        if not known or self.library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"eSpeak NG has no voice {voice!r}")
        self.library.espeak_SetParameter(RATE, speed, 0)
        self.library.espeak_SetParameter(PITCH, pitch, 0)
        self.library.espeak_ng_SetRandSeed(1)  # else breath and tremor are noise of the time of day
        self.samples.clear()
        said = text.encode()
        if self.library.espeak_Synth(said, len(said) + 1, 0, BY_CHARACTER, 0, UTF8, None, None):
            sys.exit(f"eSpeak NG cannot say {text!r}")
        return bytes(self.samples)


def main(folder: Path, sink: BinaryIO) -> None:
    """Answer the requests on standard input."""
    speaker = Speaker(folder)
    sink.write(speaker.rate.to_bytes(4, "little"))
    for voice, speed, pitch, text in json.load(sys.stdin):
        samples = speaker.say(voice, speed, pitch, text)
        sink.write((len(samples) // 2).to_bytes(4, "little") + samples)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.stdout.buffer)
