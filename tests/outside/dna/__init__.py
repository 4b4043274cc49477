"""DNA for seqgen: a kind of data of one's own, added from outside the package.

    fasta.py     Record, and FASTA files read and written
    codec.py     DNA: bases as symbols
    modality.py  DNAModality: what is read, written and printed
    data.py      Fasta: training data
    model.py     PeriodicMarkov: a Markov chain that knows the place in the codon
    dna.yaml     the recipe

With the folder that holds the package on PYTHONPATH:

    seqgen fit --config trainer.yaml --config dna/dna.yaml --data.path genes.fasta
    seqgen sample runs/dna -n 3 --import dna
    seqgen score runs/dna ATGGCCTAA --import dna

Importing the package registers its classes; `import dna` before `seqgen.load("runs/dna")` does it in Python.
"""

from dna.codec import DNA as DNA
from dna.data import Fasta as Fasta
from dna.fasta import Record as Record
from dna.modality import DNAModality as DNAModality
from dna.model import PeriodicMarkov as PeriodicMarkov

__all__ = ["DNA", "DNAModality", "Fasta", "PeriodicMarkov", "Record"]
