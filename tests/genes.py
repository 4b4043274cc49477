"""Coding sequences for the tests of the fifth kind of data, and the folder that its package is in."""

import os
import random
from pathlib import Path

OUTSIDE = Path(__file__).parent / "outside"
RECIPE = OUTSIDE / "dna" / "dna.yaml"
TRAINER = Path(__file__).parent.parent / "recipes" / "trainer.yaml"
THIRD = {"Escherichia coli": (1, 4, 4, 1), "Plasmodium falciparum": (5, 1, 1, 5)}
"""How often A, C, G and T stand in the third place of a codon."""
STOPS = ("TAA", "TAG", "TGA")


def genes(count: int, seed: int) -> list[tuple[str, str]]:
    """Headers and sequences: a start codon, 5 to 20 codons that an organism prefers, a stop codon."""
    draw = random.Random(seed)
    found = []
    for number in range(1, count + 1):
        organism = draw.choice(sorted(THIRD))
        codons: list[str] = []
        while len(codons) < 5 + number % 16:
            codon = "".join(draw.choices("ACGT", k=2) + draw.choices("ACGT", THIRD[organism]))
            codons += [codon] if codon not in STOPS else []
        found.append((f"gene {number} [organism={organism}]", f"ATG{''.join(codons)}{draw.choice(STOPS)}"))
    return found


def write(path: Path, records: list[tuple[str, str]]) -> Path:
    """A FASTA file, written without the package that is tested."""
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Of a process that can import the package; `folder` is seqgen's cache."""
    paths = [str(OUTSIDE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SEQGEN_CACHE": str(folder)}
