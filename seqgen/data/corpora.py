"""Public speech corpora: some of torchaudio.datasets, and the Free Spoken Digit Dataset.

Each becomes a folder in the cache with the files of the archive and a table `clips.csv` for the data module `Audio`.
URLs and SHA-256 come from torchaudio. Its download and extraction are not used, because its extraction does not check
for paths outside the target folder. No audio is decoded here.
"""

import csv
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType

from seqgen.data import corpus
from seqgen.data.corpus import CLIPS, Corpus, write_clips
from seqgen.data.fetch import cache, cached_folder, extract, http
from seqgen.media import audio
from seqgen.media.files import DataError

LIMIT = 256 << 30  # maximum unpacked size in bytes; the largest subset of LibriTTS has about 60 GB

Clip = dict[str, str]


class PublicCorpus(Corpus):
    """A corpus published as one archive of known SHA-256, downloaded and unpacked once.

    The archive stays in the cache beside the unpacked folder; it may be deleted.

    Args:
        archive: Path of an archive that you have already; None: download it.
        sha256: SHA-256 of the archive; None: the published one.
    """

    published: tuple[str, str]
    """Name of the module in torchaudio.datasets, and the end of the archive's URL there."""
    inside = ""
    """Subfolder to unpack into, for archives without a top-level folder of their own."""

    def __init__(self, archive: str | None = None, sha256: str | None = None) -> None:
        if not re.fullmatch("[0-9a-f]{64}", sha256 or 64 * "0"):
            raise DataError(f"sha256 is {sha256!r}, expected 64 digits 0-9a-f")
        self.archive, self.sha256 = archive, sha256

    def source(self) -> tuple[str, str]:
        """URL and SHA-256 of the archive, from torchaudio."""
        name, end = self.published
        module = vars(vars(_datasets())[name])
        known = dict(module.get("_CHECKSUMS", {}))
        known |= {release["url"]: release["checksum"] for release in module.get("_RELEASE_CONFIGS", {}).values()}
        return next((url, sha256) for url, sha256 in known.items() if url.endswith(end))

    @property
    def name(self) -> str:
        """What the folder of the corpus begins with."""
        return type(self).__name__.lower()

    @abstractmethod
    def clips(self, root: Path) -> Iterable[Clip]:
        """Rows of `clips.csv`, one for each clip below the folder `root`."""

    def prepare(self) -> Path:
        """The folder of the corpus. Raises DataError for a wrong `archive`, FetchError for a failed download."""
        url, known = self.source()
        expected = self.sha256 or known
        folder = cache() / "corpora" / f"{self.name}-{expected[:12]}"
        if not (folder / CLIPS).is_file():
            extract(self._archive(url, expected), folder / self.inside, LIMIT)
            try:
                write_clips(folder, self.clips(folder))
            except (FileNotFoundError, NotADirectoryError, RuntimeError, ValueError) as error:
                raise DataError(f"the archive does not have the layout of {type(self).__name__}: {error}") from None
        return folder

    def _archive(self, url: str, expected: str) -> Path:
        if self.archive is None:
            return http(url, expected)
        description = f"the archive {url.rpartition('/')[2]}"
        return corpus.own_file(self.archive, expected, description, "; sha256= accepts another version")


def _datasets() -> ModuleType:
    found: ModuleType = audio.torchaudio().datasets
    return found


def _line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip()


class LJSpeech(PublicCorpus):
    """LJ Speech 1.1 (Ito, Johnson, 2017): one speaker reads seven books; 13,100 clips, 24 hours, 22.05 kHz, 2.6 GB.

    Columns: `text`, with numbers and abbreviations written out.

    Args:
        archive: Path of an archive that you have already; None: download it.
        sha256: SHA-256 of the archive; None: the published one.
        first: How many clips, from the first on; None: all.
    """

    licence = "The LJ Speech Dataset 1.1, Keith Ito and Linda Johnson, 2017: public domain"
    published = ("ljspeech", "/LJSpeech-1.1.tar.bz2")

    def __init__(self, archive: str | None = None, sha256: str | None = None, first: int | None = None) -> None:
        if first is not None and first < 1:
            raise DataError(f"first is {first}, expected 1 clip or more, or null for all")
        super().__init__(archive, sha256)
        self.first = first

    @property
    def name(self) -> str:
        """Part of a corpus has a folder of its own."""
        return super().name if self.first is None else f"{super().name}-{self.first}"

    def clips(self, root: Path) -> Iterator[Clip]:
        """From the rows of metadata.csv: name, text as printed, text as read."""
        with (root / "LJSpeech-1.1" / "metadata.csv").open(encoding="utf-8", newline="") as table:
            rows = csv.reader(table, delimiter="|", quoting=csv.QUOTE_NONE)
            for name, _, text in islice(rows, self.first):
                yield {"file": f"LJSpeech-1.1/wavs/{name}.wav", "text": text}


class SpeechCommands(PublicCorpus):
    """Speech Commands 0.02 (Warden, 2018, arXiv 1804.03209): 105,829 clips of 35 words, 1 second, 16 kHz, 2.4 GB.

    Columns: `word`; `speaker`, 8 hexadecimal digits; `split`, from the lists in the archive. The recordings of
    background noise are left out.
    """

    licence = "Speech Commands 0.02, Pete Warden and Google, 2018: CC BY 4.0"
    published = ("speechcommands", "/speech_commands_v0.02.tar.gz")
    inside = "SpeechCommands/speech_commands_v0.02"

    def clips(self, root: Path) -> Iterator[Clip]:
        """The clips listed by torchaudio.datasets."""
        found = _datasets().SPEECHCOMMANDS(root, download=False)
        lists = {"val": "validation_list.txt", "test": "testing_list.txt"}
        splits = {
            f"{self.inside}/{line}": split
            for split, name in lists.items()
            for line in (root / self.inside / name).read_text(encoding="utf-8").split()
        }
        for number in range(len(found)):
            name, _, word, speaker, _ = found.get_metadata(number)
            file = f"SpeechCommands/{Path(name).as_posix()}"
            yield {"file": file, "word": word, "speaker": speaker, "split": splits.get(file, "train")}


class YesNo(PublicCorpus):
    """YesNo (OpenSLR 1): one speaker, 8 words per clip, yes or no in Hebrew; 60 clips, 6 minutes, 8 kHz, 5 MB.

    Columns: `text`, 1 for yes and 0 for no, such as `0 1 0 0 1 0 1 1`.
    """

    licence = "YesNo, openslr.org/1, recorded for the Kaldi project to be used freely; terms: the README in the archive"
    published = ("yesno", "/waves_yesno.tar.gz")

    def clips(self, root: Path) -> Iterator[Clip]:
        """The file name is the transcript."""
        for path in root.glob("waves_yesno/*.wav"):
            yield {"file": f"waves_yesno/{path.name}", "text": path.stem.replace("_", " ")}


class VCTK(PublicCorpus):
    """VCTK 0.92 (Yamagishi, Veaux, MacDonald, 2019): 108 speakers with various accents, second microphone, 44 hours.

    48 kHz, 12 GB. Columns: `speaker`, such as p225; `text`. As in torchaudio, clips without a text or a recording are
    left out: p315 has no texts; p280 and parts of p362 have no recordings with the second microphone.
    """

    licence = "CSTR VCTK Corpus 0.92, University of Edinburgh, 2019: CC BY 4.0"
    published = ("vctk", "/VCTK-Corpus-0.92.zip")
    inside = "VCTK-Corpus-0.92"

    def clips(self, root: Path) -> Iterator[Clip]:
        """Texts and recordings have the same names in two folder trees."""
        for path in (root / self.inside).glob("txt/*/*.txt"):
            speaker = path.parent.name
            file = f"{self.inside}/wav48_silence_trimmed/{speaker}/{path.stem}_mic2.flac"
            if (root / file).is_file():
                yield {"file": file, "speaker": speaker, "text": _line(path)}


class LibriTTS(PublicCorpus):
    """LibriTTS (Zen et al., 2019, arXiv 1904.02882): audiobooks by 2,456 speakers, 24 kHz; 585 hours in seven subsets.

    Columns: `speaker`, a number; `text`, with numbers and abbreviations written out.

    Args:
        subset: dev-clean, dev-other, test-clean, test-other, train-clean-100, train-clean-360 or train-other-500.
        archive: Path of an archive that you have already; None: download it.
        sha256: SHA-256 of the archive; None: the published one.
    """

    licence = "LibriTTS, Google, 2019, from LibriVox and Project Gutenberg: CC BY 4.0"
    subsets = (
        *("dev-clean", "dev-other", "test-clean", "test-other"),
        *("train-clean-100", "train-clean-360", "train-other-500"),
    )

    def __init__(self, subset: str = "train-clean-100", archive: str | None = None, sha256: str | None = None) -> None:
        super().__init__(archive, sha256)
        if subset not in self.subsets:
            raise DataError(f"subset is {subset!r}, expected {', '.join(self.subsets)}")
        self.subset, self.published = subset, ("libritts", f"/{subset}.tar.gz")

    def clips(self, root: Path) -> Iterator[Clip]:
        """LibriTTS/<subset>/<speaker>/<chapter>/<name>.wav with <name>.normalized.txt beside it."""
        for path in root.glob(f"LibriTTS/{self.subset}/*/*/*.wav"):
            text = _line(path.with_suffix(".normalized.txt"))
            yield {"file": path.relative_to(root).as_posix(), "speaker": path.parts[-3], "text": text}


class FSDD(PublicCorpus):
    """Free Spoken Digit Dataset (Jackson et al.), as of May 2024: 6 speakers, 3,000 clips, 22 minutes, 8 kHz, 16 MB.

    Columns: `digit`, 0 to 9; `speaker`, a first name; `split`: recordings 0 to 4 of each speaker and digit are test,
    as its README recommends.

    Args:
        folder: Folder of the recordings, or of the repository, that you have already; the recordings are copied.
        archive: Path of an archive that you have already; None: download it.
        sha256: SHA-256 of the archive; None: the published one.
    """

    licence = "Free Spoken Digit Dataset, Zohar Jackson et al.: CC BY-SA 4.0"
    commit = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"

    def __init__(self, folder: str | None = None, archive: str | None = None, sha256: str | None = None) -> None:
        super().__init__(archive, sha256)
        self.folder = None if folder is None else Path(folder).expanduser().absolute()

    def source(self) -> tuple[str, str]:
        """URL of GitHub's archive of `commit`; the SHA-256 was computed from the output of `git archive`."""
        url = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{self.commit}.tar.gz"
        return url, "9a68686ad29274bd0affde81b244953e677c9d7048dfb8acaf1168d7758bafab"

    def clips(self, root: Path) -> Iterator[Clip]:
        """<digit>_<speaker>_<number>.wav in any subfolder."""
        for path in root.rglob("*.wav"):
            if not (parts := re.fullmatch(r"(\d)_(\w+)_(\d+)\.wav", path.name)):
                raise DataError(f"got the recording {path}, expected the name <digit>_<speaker>_<number>.wav")
            split = "test" if int(parts[3]) < 5 else "train"
            yield {"file": path.relative_to(root).as_posix(), "digit": parts[1], "speaker": parts[2], "split": split}

    def prepare(self) -> Path:
        """The folder of the corpus. Raises DataError for a `folder` without recordings; else as PublicCorpus."""
        if self.folder is None:
            return super().prepare()
        clips = list(self.clips(self.folder))
        if not clips:
            raise DataError(f"{self.folder} has no recordings, expected <digit>_<speaker>_<number>.wav")
        paths = [self.folder / clip["file"] for clip in clips]
        states = sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
        return cached_folder("fsdd", states, lambda folder: _copy(clips, paths, folder))


def _copy(clips: list[Clip], paths: list[Path], folder: Path) -> None:
    for clip, path in zip(clips, paths, strict=True):
        (folder / clip["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / clip["file"])
    write_clips(folder, clips)
