"""The programs of recipes/digits and recipes/names that measure what likelihood tells apart."""

import itertools
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
import small
import torch
from torch.nn import functional as F

from seqgen.codecs import Chars, Pixels
from seqgen.data.lines import Lines
from seqgen.data.pictures import Pictures
from seqgen.inference.detect import area_under_roc, calibrate
from seqgen.model import Batch
from seqgen.models import RNN, PixelCNN
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen_recipes import detection
from seqgen_recipes.digits import detect
from seqgen_recipes.names import detect as names


def test_area_under_roc() -> None:
    """The share of pairs in the right order."""
    chance = torch.Generator().manual_seed(0)
    strange, usual = (torch.randint(high, (200,), generator=chance).double() for high in (8, 10))
    pairs = strange[:, None] - usual
    expected = ((pairs < 0).double() + (pairs == 0).double() / 2).mean().item()
    assert area_under_roc(strange, usual) == pytest.approx(expected, abs=1e-12)
    assert area_under_roc(usual, usual) == pytest.approx(0.5, abs=1e-12)
    assert area_under_roc(usual - 20, usual) == 1
    assert area_under_roc(usual + 20, usual) == 0
    for wrong in (torch.zeros(0), torch.tensor([0.0, torch.nan])):
        with pytest.raises(ValueError, match="expected scores"):
            area_under_roc(wrong, usual)
        with pytest.raises(ValueError, match="expected scores"):
            area_under_roc(usual, wrong)


# -- digits


def bars(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of a bar, upright in class 0 and level in class 1, on a dark ground."""
    chance = torch.Generator().manual_seed(seed)
    x, classes = torch.rand(count, 8, 8, generator=chance) / 5, torch.arange(count) % 2
    for place, kind in enumerate(classes.tolist()):
        line = int(torch.randint(2, 6, (1,), generator=chance))
        (x[place].T if kind == 0 else x[place])[line, 1:7] = 0.9
    return x, classes


@pytest.fixture(scope="module")
def classifier() -> detect.Classifier:
    return detect.train(*bars(256, 0), 2, seed=1, epochs=12)


def test_the_classifier_learns_and_is_the_same_for_a_seed(classifier: detect.Classifier) -> None:
    x, classes = bars(60, 1)
    assert classifier.accuracy(x, classes) > 0.95
    state = torch.get_rng_state()
    one, same, other = (detect.train(x, classes, 2, seed, epochs=1).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_adversaries_stay_near_and_fool(classifier: detect.Classifier, radius: float) -> None:
    x, classes = bars(60, 1)

    def loss(some: torch.Tensor) -> float:
        return F.cross_entropy(classifier(some), classes).item()

    one, many = detect.fgsm(classifier, x, classes, radius), detect.pgd(classifier, x, classes, radius, seed=1)
    for found in (one, many):
        assert (found - x).abs().max() <= radius + 1e-6
        assert 0 <= found.min() <= found.max() <= 1
        assert not found.requires_grad
    assert loss(x) < loss(one) <= loss(many) * 1.05
    assert torch.equal(many, detect.pgd(classifier, x, classes, radius, seed=1))
    assert all(parameter.grad is None for parameter in classifier.parameters())


def detector(levels: int = 11) -> detect.Detector:
    """A model of small pictures with held-out scores, of its own samples."""
    torch.manual_seed(0)
    pipeline = Pipeline(
        PixelCNN(Categorical(levels), height=8, width=8, filters=4, depth=1), Pixels(8, 8, levels=levels)
    )
    x = torch.stack([pipeline.codec.encode(one) for one in pipeline.sample(40, seed=1)])
    pipeline.calibration = calibrate(pipeline.model, [Batch(x, torch.ones_like(x, dtype=torch.bool))])
    return detect.Detector(pipeline, pipeline)


def test_pictures_are_rounded_to_the_models_levels() -> None:
    found, x = detector(), bars(5, 0)[0]
    rounded = found.tensor(np.stack(found.items(x)))
    torch.testing.assert_close(rounded, (x * 10).round() / 10)
    torch.testing.assert_close(found.tensor(np.stack(found.items(rounded))), rounded)
    cured = found.purified(rounded, 0.3)
    assert (cured - rounded).abs().max() <= 0.3 + 1e-6
    assert not torch.equal(cured, rounded)
    assert torch.equal(found.purified(rounded, 0.09), rounded)  # less than a level


def test_a_report_has_a_row_for_each_kind(classifier: detect.Classifier) -> None:
    x, classes = bars(10, 1)
    rows = detect.report(detector(), classifier, x, classes, torch.rand(6, 8, 8), seed=1).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert len({len(row) for row in cells}) == 1
    kinds = ["digits", "digits of half the size", "foreign", "FGSM, 0.1", "PGD, 0.1", "FGSM, 0.3", "PGD, 0.3"]
    assert [row[0] for row in cells[2:]] == kinds
    digits = dict(zip(cells[0], cells[2], strict=True))
    assert digits["AUC, p-value"] == digits["AUC, two-sided"] == digits["AUC, ratio"] == "0.500"
    assert digits["recognised"] == f"{classifier.accuracy((x * 10).round() / 10, classes):.1%}"


def test_half_the_size() -> None:
    x = torch.zeros(1, 8, 8)
    x[0, :2, :2], x[0, 6:, 4:6] = 1, 0.5
    found = detect.half_size(x)
    assert found.shape == x.shape
    assert found[0, 2, 2] == 1
    assert found[0, 5, 4] == 0.5
    assert found.sum() == 1.5


def test_pictures_to_test_on_are_drawn() -> None:
    values = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    classes = [str(place % 10) for place in range(20)]
    found = detect.random_subset(Pictures(values, classes, ["train"] * 10 + ["test"] * 10), 6, seed=0)
    assert len(set(found.values.flatten().tolist())) == 6
    assert found.values.min() >= 10
    assert found.classes == [str(value % 10) for value in found.values.flatten().tolist()]
    assert len(detect.random_subset(Pictures(values, classes, [""] * 20), 50, seed=0).values) == 20
    assert detect.class_indices(["b", "a"], ["a", "b"]).tolist() == [1, 0]
    for wrong in (["a", ""], ["c"], []):
        with pytest.raises(ValueError, match="expected a label"):
            detect.class_indices(wrong, ["a", "b"])
    with pytest.raises(ValueError, match="three levels"):
        detect.Detector(
            Pipeline(PixelCNN(Categorical(2), height=2, width=2, filters=4, depth=1), Pixels(2, 2, levels=2))
        )


# -- names


def test_words_look_like_names() -> None:
    usual, random = ["Anna", "McKay", "Aaa", "Al"], Random(1)
    drawn = names.gibberish(usual, random)
    assert [[letter.isupper() for letter in word] for word in drawn] == [[c.isupper() for c in name] for name in usual]
    assert names.gibberish(usual, Random(1)) != names.gibberish(usual, Random(2))
    mixed = names.shuffled(usual, random)
    assert [sorted(word.lower()) for word in mixed] == [sorted(name.lower()) for name in ("Anna", "McKay", "Al")]
    assert not set(mixed) & set(usual)
    text = "Enter ANNA, and o' the thane; And, mccay the anna!"
    capitals = {"Enter", "And", "The", "Thane", "Mccay"}  # no single letter, and no name
    assert set(names.words(text, usual * 2, {"Anna"}, random)) == capitals
    few = names.words(text, usual, {"Anna"}, random)
    assert len(set(few)) == 4
    assert set(few) < capitals
    assert set(names.words(text, ["anna"] * 9, {"anna"}, random)) == {word.lower() for word in capitals}


def test_names_of_a_part(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"Name{letter}" for letter in "abcdefghij"))
    data = Lines(path=str(tmp_path / "names.txt"), val=2, test=3)
    data.setup()
    found = [names.names(data, part) for part in ("train", "val", "calibration", "test")]
    assert [len(them) for them in found] == [5, 1, 1, 3]
    assert sorted(itertools.chain(*found)) == [f"Name{letter}" for letter in "abcdefghij"]


def test_scores_and_figures() -> None:
    torch.manual_seed(0)
    pipeline = Pipeline(RNN(Categorical(4), hidden=4), Chars("abc", end=True))
    items = pipeline.sample(60, length=9, seed=1)
    x, lengths = pipeline.codec.encode_all(items)
    rows = [torch.cat([row, torch.tensor([pipeline.codec.end])]) for row in x.split(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(padded.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    pipeline.calibration = calibrate(pipeline.model, [Batch(padded, mask)])
    usual = detection.scores(pipeline, items, pipeline)
    assert usual["ratio"].abs().max() < 1e-9
    assert usual["p-value"].tolist() == [one.p_value for one in pipeline.score(items, p_value="low")]
    header, cells = detection.header(usual), detection.figures(usual, usual)
    assert header[:3] == ["AUC, p-value", "AUC, two-sided", "AUC, ratio"]
    assert cells[:3] == ["0.500"] * 3
    assert len(header) == len(cells) == 5
    assert detection.table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_program_on_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small model of names, from training to the table."""
    from seqgen.cli.main import main

    path = small.write({"class_path": "Lines"}, tmp_path)
    arguments = ["--config=trainer.yaml", "--config=names/gru.yaml", f"--run={tmp_path / 'run'}", *small.QUICK]
    more = [f"--data.path={path}", "--data.column=null", "--data.labels=null", "--data.test=30"]
    assert main(["fit", *arguments, *more, "--model.model.hidden=8"]) == 0
    (tmp_path / "text.txt").write_text("Aaa be can dad each mae")
    words = ["detect", str(tmp_path / "run"), f"--words={tmp_path / 'text.txt'}", "--count=20"]
    monkeypatch.setattr(sys, "argv", [*words, "--background", str(tmp_path / "run")])
    capsys.readouterr()
    names.main()
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:5]] == [
        "| 20 held-out names",
        "| 20 gibberish",
        "| 20 shuffled names",
    ]
    assert rows[5].startswith("| 6 words of ")
