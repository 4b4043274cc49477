"""RNADE on every fold of a table, compared with a Gaussian with full covariance.

python -m seqgen_recipes.table.folds red_wine.hdf5 --orders 32

Trains a model on each fold that has none yet, and prints mean test log-likelihoods in nats per row. As in published
results, they are densities of columns standardized by the training rows. Other flags go to `seqgen fit`, such as
`--trainer.max_steps 500`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from seqgen.cli.main import plainly
from seqgen.data.evaluation import evaluate
from seqgen.data.table import Table
from seqgen.training.fit import main as fit

HEADER = ("fold", "rows", "Gaussian", "one order", "orders")


def gaussian(data: Table) -> float:
    """Mean log-density of standardized test rows under the maximum likelihood Gaussian of all other rows."""
    rows = {part: torch.from_numpy(data.numbers[places]).double() for part, places in data.parts.items()}
    other = torch.cat([rows["train"], rows["val"], rows["calibration"]])
    normal = torch.distributions.MultivariateNormal(other.mean(0), torch.cov(other.T, correction=0))
    return float(normal.log_prob(rows["test"]).mean())


def train_fold(path: Path, fold: int, run: Path, flags: list[str]) -> Path:
    """The run folder of a fold, trained if it has no model yet. Raises SystemExit if training fails."""
    data = [f"--data.path={path}", f"--data.fold={fold}"]
    if not (run / "model").is_dir() and (
        status := fit(["--config=trainer.yaml", "--config=table/rnade.yaml", f"--run={run}", *data, *flags])
    ):
        sys.exit(status)
    return run


def main() -> None:
    """Print a line for each fold, and their mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="an HDF5 file of folds")
    parser.add_argument("--folds", type=int, default=10, help="number of folds (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=32, help="orders in the ensemble (default: %(default)s)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/folds"), help="folder of the runs (default: %(default)s)"
    )
    options, flags = parser.parse_known_args()
    print(" ".join(f"{word:>10}" for word in HEADER), flush=True)
    found = []
    for fold in range(1, options.folds + 1):
        data = Table(path=str(options.path), fold=fold)
        data.setup()
        run = train_fold(options.path, fold, options.runs / str(fold), flags)
        rows = len(data.parts["test"])
        scales = float(torch.as_tensor(data.codec.log_jacobian).sum())
        scores = [-evaluate(run, orders=orders).totals["test"].nats / rows - scales for orders in (1, options.orders)]
        found.append([gaussian(data), *scores])
        print(" ".join(f"{word:>10}" for word in (fold, rows, *(f"{one:.3f}" for one in found[-1]))), flush=True)
    print(" ".join(f"{word:>10}" for word in ("mean", "", *(f"{one:.3f}" for one in np.mean(found, 0)))), flush=True)


if __name__ == "__main__":
    sys.exit(plainly(main))
