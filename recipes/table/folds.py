"""RNADE over the folds of a table, beside one Gaussian with all covariances.

python -m seqgen_recipes.table.folds red_wine.hdf5 --orders 32

Trains on each fold, where that was not done before, and prints log-likelihoods a row of its test part, in nats and, as
they are published, of columns standardized by the rows of training. Other flags go to `seqgen fit`, such as
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
    """Mean log-density of the standardized test rows under the Gaussian that the other rows make likeliest."""
    rows = {part: torch.from_numpy(data.numbers[places]).double() for part, places in data.parts.items()}
    seen = torch.cat([rows["train"], rows["val"], rows["calibration"]])
    normal = torch.distributions.MultivariateNormal(seen.mean(0), torch.cov(seen.T, correction=0))
    return float(normal.log_prob(rows["test"]).mean())


def trained(path: Path, fold: int, run: Path, flags: list[str]) -> Path:
    """The run of a fold, trained unless it was. Raises SystemExit where that was interrupted."""
    data = [f"--data.path={path}", f"--data.fold={fold}"]
    if not (run / "model").is_dir() and (
        status := fit(["--config=trainer.yaml", "--config=table/rnade.yaml", f"--run={run}", *data, *flags])
    ):
        sys.exit(status)
    return run


def main() -> None:
    """Print a line for each fold and one of their means."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="an HDF5 file of folds")
    parser.add_argument("--folds", type=int, default=10, help="how many, from 1 (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=32, help="to average over (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/folds"), help="folder of runs (default: %(default)s)")
    options, flags = parser.parse_known_args()
    print(" ".join(f"{word:>10}" for word in HEADER), flush=True)
    found = []
    for fold in range(1, options.folds + 1):
        data = Table(path=str(options.path), fold=fold)
        data.setup()
        run = trained(options.path, fold, options.runs / str(fold), flags)
        rows = len(data.parts["test"])
        scales = float(torch.as_tensor(data.codec.log_jacobian).sum())
        scores = [-evaluate(run, orders=orders).totals["test"].nats / rows - scales for orders in (1, options.orders)]
        found.append([gaussian(data), *scores])
        print(" ".join(f"{word:>10}" for word in (fold, rows, *(f"{one:.3f}" for one in found[-1]))), flush=True)
    print(" ".join(f"{word:>10}" for word in ("mean", "", *(f"{one:.3f}" for one in np.mean(found, 0)))), flush=True)


if __name__ == "__main__":
    sys.exit(plainly(main))
