"""Anomaly detection by a model of names: gibberish, shuffled names and words of Shakespeare against held-out names.

python -m seqgen_recipes.names.detect runs/names
python -m seqgen_recipes.names.detect runs/names --by-length
"""

import argparse
import re
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import seqgen
from seqgen.cli.main import plainly
from seqgen.config import SeqgenError
from seqgen.data.lines import Lines
from seqgen.data.runs import open_data
from seqgen.inference.detect import calibrate
from seqgen_recipes import detection
from seqgen_recipes.shakespeare.prepare import Plays


def names(data: Lines, part: str) -> list[str]:
    """The distinct names of a part of the data, sorted."""
    found = (
        data.codec.decode(row[kept]) for batch in data.held_out(part) for row, kept in zip(*batch[:2], strict=True)
    )
    return sorted(set(found))


def match_case(name: str, letters: str) -> str:
    """Letters with the upper and lower case of `name`, which is as long."""
    return "".join(
        letter.upper() if model.isupper() else letter.lower() for letter, model in zip(letters, name, strict=True)
    )


def gibberish(usual: Sequence[str], random: Random) -> list[str]:
    """For each name a string of as many letters, drawn uniformly from a to z."""
    return [match_case(name, "".join(random.choices(string.ascii_lowercase, k=len(name)))) for name in usual]


def shuffled(usual: Sequence[str], random: Random) -> list[str]:
    """Each name with its letters in a different order; names without one are left out."""
    found = []
    for name in usual:
        letters = [match_case(name, "".join(random.sample(name, len(name)))) for _ in range(20)]
        found += [next(word for word in letters if word != name)] if set(letters) != {name} else []
    return found


def words(text: str, usual: Sequence[str], known: set[str], random: Random) -> list[str]:
    """Distinct words of a text that are not in `known`, capitalised like the names `usual`, and at most as many."""
    capital = usual[0][:1].isupper()
    found = {word.capitalize() if capital else word.lower() for word in re.findall(r"[A-Za-z]{2,}", text)} - known
    return random.sample(sorted(found), min(len(usual), len(found)))


def main() -> None:
    """Print a table with a row for each kind of words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder of a model of names")
    parser.add_argument("--background", default=None, help="run folder of a background model, for likelihood ratios")
    parser.add_argument("--words", type=Path, default=None, help="a text file of words (default: Shakespeare's plays)")
    parser.add_argument("--count", type=int, default=1000, help="maximum words of each kind (default: %(default)s)")
    parser.add_argument("--show", type=int, default=3, help="examples of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument("--by-length", action="store_true", help="print p-values of the test part by length instead")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    background = None if options.background is None else seqgen.load(options.background)
    data = open_data(pipeline, Path(options.run))
    if not isinstance(data, Lines):
        raise SeqgenError(f"the data of {options.run} is {type(data).__name__}, expected Lines")
    if options.by_length:
        if pipeline.calibration is None:
            raise SeqgenError(f"{options.run} has no calibration set: calibrate it first")
        tested = calibrate(pipeline.model, data.held_out("test"), data.codec.log_jacobian)
        print(detection.table(detection.by_length(pipeline.calibration, tested)))
        return
    random = Random(options.seed)
    held_out = names(data, "test")
    known = {name for part in data.parts for name in names(data, part)}
    held_out = random.sample(held_out, min(options.count, len(held_out)))
    text = (options.words or Plays().prepare()).read_text(encoding="utf-8")
    kinds = {
        "held-out names": held_out,
        "gibberish": gibberish(held_out, random),
        "shuffled names": shuffled(held_out, random),
        "words of Shakespeare" if options.words is None else f"words of {options.words}": words(
            text, held_out, known, random
        ),
    }
    usual = detection.scores(pipeline, held_out, background)
    table = [["words", *detection.header(usual), "such as"]]
    for kind, items in kinds.items():
        cells = detection.figures(detection.scores(pipeline, items, background), usual)
        table.append([f"{len(items)} {kind}", *cells, ", ".join(items[: options.show])])
    print(detection.table(table))


if __name__ == "__main__":
    sys.exit(plainly(main))
