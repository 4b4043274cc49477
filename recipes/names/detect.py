"""Are words strange that no name is? Gibberish, shuffled names and words of Shakespeare against held-out names.

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
from seqgen.data.evaluation import opened
from seqgen.data.lines import Lines
from seqgen.inference.detect import calibrate
from seqgen_recipes import detection
from seqgen_recipes.shakespeare.prepare import Plays


def names(data: Lines, part: str) -> list[str]:
    """The different names of a part, in alphabetical order."""
    found = (
        data.codec.decode(row[kept]) for batch in data.held_out(part) for row, kept in zip(*batch[:2], strict=True)
    )
    return sorted(set(found))


def like(name: str, letters: str) -> str:
    """Letters, large and small as those of a name."""
    return "".join(
        letter.upper() if model.isupper() else letter.lower() for letter, model in zip(letters, name, strict=True)
    )


def gibberish(usual: Sequence[str], random: Random) -> list[str]:
    """For each name as many letters, each as probable as any other."""
    return [like(name, "".join(random.choices(string.ascii_lowercase, k=len(name)))) for name in usual]


def shuffled(usual: Sequence[str], random: Random) -> list[str]:
    """The letters of each name in another order, where there is one."""
    found = []
    for name in usual:
        letters = [like(name, "".join(random.sample(name, len(name)))) for _ in range(20)]
        found += [next(word for word in letters if word != name)] if set(letters) != {name} else []
    return found


def words(text: str, usual: Sequence[str], known: set[str], random: Random) -> list[str]:
    """Different words of a text that are no names, at most as many as there are names, written like names."""
    capital = usual[0][:1].isupper()
    found = {word.capitalize() if capital else word.lower() for word in re.findall(r"[A-Za-z]{2,}", text)} - known
    return random.sample(sorted(found), min(len(usual), len(found)))


def main() -> None:
    """Print a table, a row for each kind of words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder of a model of names")
    parser.add_argument("--background", default=None, help="that of a background model, for likelihood ratios")
    parser.add_argument("--words", type=Path, default=None, help="a text (default: Shakespeare's plays)")
    parser.add_argument("--count", type=int, default=1000, help="words of each kind, at most (default: %(default)s)")
    parser.add_argument("--show", type=int, default=3, help="examples of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--by-length", action="store_true", help="instead, p-values of the test part by length")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    background = None if options.background is None else seqgen.load(options.background)
    data = opened(pipeline, options.run)
    if not isinstance(data, Lines):
        raise SeqgenError(f"the data of {options.run} is {type(data).__name__}, expected Lines")
    if options.by_length:
        if pipeline.calibration is None:
            raise SeqgenError(f"{options.run} has no calibration set; seqgen calibrate {options.run} adds one")
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
    for kind, them in kinds.items():
        shown = detection.figures(detection.scores(pipeline, them, background), usual)
        table.append([f"{len(them)} {kind}", *shown, ", ".join(them[: options.show])])
    print(detection.table(table))


if __name__ == "__main__":
    sys.exit(plainly(main))
