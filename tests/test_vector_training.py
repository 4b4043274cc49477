"""Rows and pictures through `seqgen fit`: drawn orders resume exactly, held-out scores are those of the mixture."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from scoring import ensemble
from tiny import interrupt, last, rows, same, train, weights

import seqgen
from seqgen.codecs import Table
from seqgen.data.evaluation import evaluate
from seqgen.data.runs import data_module, open_data
from seqgen.model import Context, arranged
from seqgen.models import FVSBN, NADE
from seqgen.outputs import Gaussians
from seqgen.pipeline import Pipeline
from seqgen.training import fit
from seqgen.training.run_folder import RunFolder


@pytest.fixture(scope="module", autouse=True)
def few_samples(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 2, 10))
        yield


def settings(folder: Path, kind: str) -> dict[str, Any]:
    """MADE on pictures, binarized anew for every epoch, or RNADE on rows; any order, drawn for every batch."""
    made = {"dimensions": 784, "hidden": [20], "orders": 0, "masks": 0}
    model = {"model": {"class_path": "MADE", "init_args": made}, "output": {"class_path": "Bernoulli"}}
    images = {"path": str(small.pictures(folder / "p.npz")), "levels": 2, "binarize": "epoch", "batch_size": 9}
    data: dict[str, Any] = {"class_path": "Images", "init_args": {**images, "label": "digit"}}
    if kind == "rows":
        nade = {"dimensions": 11, "hidden": 9, "activation": "relu", "scaled": True, "orders": 0}
        gaussians = {"class_path": "Gaussians", "init_args": {"mixtures": 2}}
        model = {"model": {"class_path": "NADE", "init_args": nade}, "output": gaussians}
        data = {"class_path": "seqgen.data.table.Table", "init_args": {"path": str(small.table(folder / "t.csv"))}}
        data["init_args"]["batch_size"] = 9
    return {
        "model": {**model, "lr": 0.01, "warmup": 2, "ema": 0.8},
        "data": data,
        "trainer": {"accelerator": "cpu", "max_steps": 14, "val_check_interval": 7},
    }


@pytest.mark.parametrize("kind", ["rows", "pictures"])
def test_drawn_orders_resume_exactly(kind: str, tmp_path: Path) -> None:
    """The order of a batch is a function of the seed and the batch's place, whenever the run was interrupted."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(whole, settings(tmp_path, kind)) == 0
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 4)
        assert train(run, settings(tmp_path, kind)) == 130
    assert fit.main(["--run", str(run), "--resume"]) == 0
    for what in ("state_dict", "optimizer_states"):
        assert same(last(run)[what], last(whole)[what])
    assert same(weights(run), weights(whole))
    assert rows(run) == rows(whole)
    assert len(list((run / "samples").glob("*.png" if kind == "pictures" else "*.csv"))) == 2


def test_evaluation_is_the_mixture_in_original_units(tmp_path: Path) -> None:
    assert train(tmp_path / "run", settings(tmp_path, "rows")) == 0
    pipeline, data = seqgen.load(tmp_path / "run"), data_module(settings(tmp_path, "rows")["data"])
    data.setup()
    x = next(iter(data.held_out("test"))).x
    shift = float(np.log(pipeline.codec.scales).sum())
    for orders in (1, 5):
        total = evaluate(tmp_path / "run", orders=orders).totals["test"]
        expected = ensemble(pipeline.model, x, None, orders).sum().item() - shift * len(x)
        assert -total.nats == pytest.approx(expected, rel=1e-9)
        assert total.units == pytest.approx(len(x))
        assert total.unit == "row"
    one = evaluate(tmp_path / "run", str(tmp_path / "t.csv")).totals["file"]
    assert one.units == pytest.approx(100)
    assert math.isfinite(one.nats)


def test_a_wrong_number_of_variables_says_the_right_one(tmp_path: Path) -> None:
    config = settings(tmp_path, "rows")
    config["model"]["model"]["init_args"]["dimensions"] = 12
    with pytest.raises(ValueError, match=r"items have 11 symbols .*: dimensions=11"):
        train(tmp_path / "run", config)


def test_training_begins_with_the_shares_of_the_training_part(tmp_path: Path) -> None:
    """Also the average of the weights; and a run that goes on does not begin anew."""
    config = settings(tmp_path, "pictures")
    config["model"] |= {"lr": 1e-9, "model": {"class_path": "FVSBN", "init_args": {"dimensions": 784}}}
    assert train(tmp_path / "run", config) == 0
    data = data_module(config["data"])
    data.setup()
    white = data.symbols(data.parts["train"], 0).double()
    expected = (white.sum(0) + 0.5) / (len(white) + 1)
    assert expected.std() > 0.05
    torch.testing.assert_close(
        weights(tmp_path / "run")["bias"].double().sigmoid().squeeze(1), expected, rtol=0, atol=1e-6
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FVSBN, "init_from_marginals", lambda self, x: self.bias.data.zero_())
        assert fit.main(["--run", str(tmp_path / "run"), "--resume", "--trainer.max_steps=21"]) == 0
    torch.testing.assert_close(
        weights(tmp_path / "run")["bias"].double().sigmoid().squeeze(1), expected, rtol=0, atol=1e-6
    )


def test_held_out_rows_are_ranked_as_they_are_scored(tmp_path: Path) -> None:
    """In the model's own order, in the table's own units, given the rows' own labels and without."""
    config = settings(tmp_path, "rows")
    config["model"]["model"]["init_args"] |= {"dimensions": 10, "orders": 1, "order": "random"}
    numbers = np.random.default_rng(0).normal(size=(100, 10)) * np.arange(1, 11)
    lines = [f"{','.join(map(str, row))},{'ab'[place % 2]}" for place, row in enumerate(numbers)]
    (tmp_path / "t.csv").write_text("\n".join([",".join("cdefghijkl") + ",kind", *lines]) + "\n")
    config["data"]["init_args"]["labels"] = ["kind"]
    assert train(tmp_path / "run", config) == 0
    pipeline = seqgen.load(tmp_path / "run")
    assert not pipeline.model.order_number(0).natural
    data = open_data(pipeline, tmp_path / "run")
    places = data.parts["calibration"]
    items = [pipeline.codec.decode(row) for row in data.symbols(places, None)]
    said = [{"kind": "ab"[number - 1]} for (number,) in data.label_numbers[places].tolist()]
    calibration = pipeline.calibration
    assert calibration is not None
    for version, labels in enumerate((None, said)):
        expected = [-one.total.nats_per_symbol for one in pipeline.score(items, label=labels)]
        torch.testing.assert_close(
            calibration.scores[version], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-5
        )
    assert (calibration.scores[0] - calibration.scores[1]).abs().max() > 1e-3
    scales = torch.tensor(pipeline.codec.scales)
    assert scales.max() > 2 * scales.min()
    x = pipeline.codec.encode(items[0])[None]
    order = pipeline.model.order_number(0)
    plain = order.restore(pipeline.model.log_prob(*arranged(x, None, order)))[0]
    torch.testing.assert_close(pipeline.score(items[0]).log_probs, plain.double() - scales.log(), rtol=0, atol=1e-5)


def test_a_mixture_over_orders_is_given_the_labels() -> None:
    model = NADE(Gaussians(2), [2], dimensions=3, hidden=5, orders=2).requires_grad_(False)
    model.labels.tables[0].mul_(20)
    pipeline = Pipeline(model, Table(["a", "b", "c"], [0.0] * 3, [1.0] * 3), {"kind": ["u", "v"]})
    x = torch.tensor([[0.5, -1, 0.2]])
    totals = []
    for number, label in enumerate((None, "u", "v")):
        context = Context(torch.tensor([[number]]))
        each = [model.log_prob(*arranged(x, context, model.order_number(order))).sum() for order in range(2)]
        expected = float(torch.stack(each).logsumexp(0)) - math.log(2)
        (total,) = pipeline.totals([x[0]], orders=2, label=label)
        assert -total.nats == pytest.approx(expected, abs=1e-5)
        totals.append(total.nats)
    assert len({round(total, 3) for total in totals}) == 3


def test_how_pictures_were_binarized_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(tmp_path, "pictures")
    grey = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "p.npz", images=grey, labels=np.arange(100) % 10)
    assert train(tmp_path / "run", config) == 0
    told = "binarized at random anew for every epoch: not to be compared with a fixed binarization"
    assert told in capsys.readouterr().err
    assert told in seqgen.load(tmp_path / "run").provenance["report"]
