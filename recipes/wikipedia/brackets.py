"""Long-range structure in samples of wiki markup: the share of balanced `[[ ]]` in samples and in the corpus.

python -m seqgen_recipes.wikipedia.brackets runs/wikipedia
"""

import argparse
import re
import sys
from itertools import islice
from pathlib import Path

import seqgen
from seqgen.cli.main import plainly
from seqgen.media.files import read_text
from seqgen_recipes.wikipedia.prepare import WikiMarkup


def balance(texts: list[str]) -> tuple[int, int]:
    """Number of `[[` and `]]` that belong to a pair, and their total number. Pairs may nest, but not span two texts."""
    paired = found = 0
    for text in texts:
        opened = 0
        for mark in re.findall(r"\[\[|\]\]", text):
            found += 1
            if mark == "[[":
                opened += 1
            elif opened:
                opened -= 1
                paired += 2
    return paired, found


def main() -> None:
    """Print the shares in samples and in corpus texts of the same length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--texts", type=int, default=20, help="number of texts to sample (default: %(default)s)")
    parser.add_argument("--length", type=int, default=5000, help="characters per text (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument("--path", default=None, help="text file of the corpus (default: the corpus of this recipe)")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    sampled = pipeline.sample(options.texts, length=options.length, temperature=options.temperature, seed=options.seed)
    whole = "".join(islice(read_text(Path(options.path or WikiMarkup().prepare())), 10))
    corpus = [whole[first : first + options.length] for first in range(0, len(whole), options.length)]
    for name, texts in (("samples", sampled), ("corpus", corpus)):
        paired, found = balance(texts)
        share = f"{paired / found:.1%}" if found else "none"
        print(f"{name}: {share} of {found} brackets are balanced, in {sum(map(len, texts))} characters")


if __name__ == "__main__":
    sys.exit(plainly(main))
