"""Training: a resumed run is the run that was never interrupted; what is reported is the mean over all symbols."""

import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import PROSE, WORDS, interrupt, last, rows, same, settings, train, weights

import seqgen
from seqgen.data.lines import Lines
from seqgen.data.text import Text
from seqgen.models import FVSBN, MADE, NADE, RNN
from seqgen.outputs import Bernoulli
from seqgen.training import fit
from seqgen.training.module import Training, bfloat16_slowdown
from seqgen.training.run_folder import RunFolder


@pytest.fixture(scope="module", autouse=True)
def few_samples(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 2, 10))
        yield


@pytest.fixture(scope="module")
def never_interrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run of some settings, trained once."""
    known: dict[str, Path] = {}

    def run(kind: str, **model: Any) -> Path:
        key = repr((kind, model))
        if key not in known:
            folder = tmp_path_factory.mktemp("never_interrupted")
            assert train(folder / "run", settings(folder, kind, **model)) == 0
            known[key] = folder / "run"
        return known[key]

    return run


def provenance(run: Path) -> dict[str, Any]:
    return json.loads((run / "model" / "config.json").read_text())["provenance"]


def check_same_run(resumed: Path, expected: Path) -> None:
    """Weights, average, optimizer, schedule and carried state bit by bit; the best model; the rows of metrics.csv."""
    one, other = last(resumed), last(expected)
    for what in ("global_step", "epoch", "state_dict", "optimizer_states", "lr_schedulers", "carry"):
        assert same(one[what], other[what]), what
    assert same(weights(resumed), weights(expected))
    steps = [row["step"] for row in rows(expected)]
    assert steps == ["6", "12", "18", "24"]
    assert [row for row in rows(resumed) if row["step"] in steps] == rows(expected)


TEXT, TABLE = ("text", {"ema": 0.9}), ("table", {"ema": 0.8})


@pytest.mark.parametrize(
    ("kind", "model", "step"),
    [
        *((*TEXT, step) for step in (3, 12, 10)),  # before any validation, together with one, at the end of an epoch
        (*TABLE, 12),
        (*TABLE, 10),
        ("text", {}, 3),
    ],
)
def test_after_ctrl_c_a_resumed_run_is_the_same(
    tmp_path: Path, never_interrupted: Callable[..., Path], kind: str, model: dict[str, Any], step: int
) -> None:
    run, config = tmp_path / "run", settings(tmp_path, kind, **model)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, step)
        assert train(run, config) == 130
    assert last(run)["global_step"] == step
    assert len(seqgen.load(run).sample(3, length=5, seed=1)) == 3
    assert fit.main(["--run", str(run), "--resume"]) == 0
    check_same_run(run, never_interrupted(kind, **model))


@pytest.mark.parametrize(("kind", "model", "step"), [(*TEXT, 9), (*TABLE, 18)])
def test_after_its_last_step_a_run_can_be_made_longer(
    tmp_path: Path, never_interrupted: Callable[..., Path], kind: str, model: dict[str, Any], step: int
) -> None:
    constant = {**model, "final_lr": 1.0}  # a schedule that does not depend on how many steps there will be
    run, config = tmp_path / "run", settings(tmp_path, kind, **constant)
    assert train(run, config, "--trainer.max_steps", str(step)) == 0
    assert last(run)["global_step"] == step
    assert fit.main([f"--run={run}", "--resume", "--trainer.max_steps=24"]) == 0
    check_same_run(run, never_interrupted(kind, **constant))


def test_a_run_may_be_interrupted_again_and_again(tmp_path: Path, never_interrupted: Callable[..., Path]) -> None:
    run, config = tmp_path / "run", settings(tmp_path, "text", ema=0.9)
    for step in (1, 2, 11, 23):
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, step)
            assert (fit.main(["--run", str(run), "--resume"]) if run.exists() else train(run, config)) == 130
    assert fit.main(["--run", str(run), "--resume"]) == 0
    check_same_run(run, never_interrupted("text", ema=0.9))


def test_the_same_seed_trains_the_same_model(tmp_path: Path, never_interrupted: Callable[..., Path]) -> None:
    expected = never_interrupted("table", ema=0.8)
    torch.manual_seed(123)
    assert train(tmp_path / "again", settings(tmp_path, "table", ema=0.8)) == 0
    check_same_run(tmp_path / "again", expected)
    assert train(tmp_path / "other", settings(tmp_path, "table", ema=0.8), "--seed_everything", "7") == 0
    assert not same(weights(tmp_path / "other"), weights(expected))
    assert [provenance(run)["seed"] for run in (expected, tmp_path / "other")] == [1, 7]


# -- what is reported


@pytest.mark.parametrize("kind", ["text", "names", "table"])
def test_val_nats_is_the_mean_over_symbols(tmp_path: Path, kind: str) -> None:
    config = settings(tmp_path, kind)
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    assert train(tmp_path / "run", config) == 0
    nats = symbols = 0.0
    pipeline = seqgen.load(tmp_path / "run")
    data: Any = {"text": Text, "names": Lines, "table": Lines}[kind](**config["data"]["init_args"])
    data.setup()
    if kind == "text":
        total = pipeline.score(data.codec.decode(torch.from_numpy(data.parts["val"].astype(int)))).total
        assert total.symbols == 30  # the other half of the 60 calibrates
        nats, symbols = total.nats, total.symbols
    else:
        items = list(data._items())
        for item in (items[place] for place in data.parts["val"]):
            total = pipeline.score(item.text, label=item.labels[0] if item.labels else None).total
            nats, symbols = nats + item.weight * total.nats, symbols + item.weight * total.symbols
    assert provenance(tmp_path / "run")["val_nats"] == pytest.approx(nats / symbols, rel=1e-5)
    assert float(rows(tmp_path / "run")[0]["val_nats"]) == pytest.approx(nats / symbols, abs=1e-5)
    assert provenance(tmp_path / "run")["val_bits"] == pytest.approx(nats / symbols / math.log(2), rel=1e-5)


def test_the_loss_is_a_weighted_mean(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("w\tn\n" + "".join(f"{word}\t{1 + number % 7}\n" for number, word in enumerate(WORDS)))
    losses = []
    for weight in (None, "n"):
        config = settings(tmp_path, "names")
        config["model"]["model"]["init_args"]["dropout"] = 0.0
        config["data"]["init_args"] |= {"path": str(path), "column": "w", "weight": weight}
        config["trainer"] |= {"max_steps": 1, "val_check_interval": 1}
        run = tmp_path / f"weighted-{weight}"
        assert train(run, config, "--model.lr", "1e-12") == 0
        data: Any = Lines(**config["data"]["init_args"])
        data.setup()
        first = next(iter(data.train_dataloader()))
        with torch.no_grad():  # after a step of 1e-12 the model is still the first one
            nats = -(seqgen.load(run).model.log_prob(first.x) * first.mask).sum(1)
        by = torch.ones(9) if first.weight is None else first.weight
        assert (weight is None) == (first.weight is None)
        losses.append(float(rows(run)[0]["train_nats"]))
        assert losses[-1] == pytest.approx(float((by * nats).sum() / (by * first.mask.sum(1)).sum()), abs=2e-5)
    assert abs(losses[0] - losses[1]) > 1e-4


def loss_slopes(folder: Path, content: str, **arguments: Any) -> dict[int, float]:
    """How much the loss of a batch of one item counts for a nat of it, by the length of the item, over an epoch."""
    path = folder / "table.tsv"
    path.write_text(content)
    data = Lines(str(path), batch_size=1, val=0, test=0, column="w", **arguments)
    data.setup()
    module = Training(lambda output, labels: RNN(output, labels, hidden=3), label_dropout=0.0)
    module.connect(data)
    module.log_dict = lambda *rest, **more: None
    module.trainer = SimpleNamespace(current_epoch=0, global_step=0)
    found = {}
    for batch in data.train_dataloader():
        loss = module.training_step(batch, 0)
        nats = -(module.model.log_prob(batch.x) * batch.mask).sum()
        found[batch.x.shape[1]] = (loss / nats).item()
    return found


def test_the_loss_counts_every_symbol_alike_times_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items in batches of one: of weights 1000 and 1; and a long one beside a short one."""
    monkeypatch.setattr(Training, "trainer", None)
    weighted = loss_slopes(tmp_path, "w\tn\nabc\t1000\nab\t1\n", weight="n")
    assert weighted[4] / weighted[3] == pytest.approx(1000, rel=1e-5)
    plain = loss_slopes(tmp_path, "w\nab\n" + "abcdefgh" * 9 + "\n")
    assert plain[73] == pytest.approx(plain[3], rel=1e-5) == pytest.approx(2 / (73 + 3), rel=1e-5)


def test_the_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    config = settings(tmp_path, "names", ema=0.99, lr=0.1)
    config["data"]["init_args"]["val"] = 24
    config["trainer"] |= {"max_steps": 8, "val_check_interval": 8}
    assert train(tmp_path / "run", config) == 0
    state = last(tmp_path / "run")["state_dict"]
    kept = weights(tmp_path / "run")
    average = {name.removeprefix("average.module."): value for name, value in state.items() if ".module." in name}
    raw = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    assert int(state["average.n_averaged"]) == 8
    assert kept.keys() == average.keys() == raw.keys()
    assert all(torch.equal(kept[name], average[name]) for name in kept)
    assert not any(torch.equal(kept[name], raw[name]) for name in kept if "weight" in name)
    data: Any = Lines(**config["data"]["init_args"])
    data.setup()
    model, nats = seqgen.load(tmp_path / "run").model, []
    for tensors in (kept, raw):
        model.load_state_dict(tensors)
        with torch.no_grad():
            batches = [(batch, model.log_prob(batch.x)) for batch in data.val_dataloader()]
        total, count = (
            sum(float(part) for part in parts)
            for parts in zip(
                *((-(log_prob * batch.mask).sum(), batch.mask.sum()) for batch, log_prob in batches), strict=True
            )
        )
        nats.append(total / count)
    assert float(rows(tmp_path / "run")[-1]["val_nats"]) == pytest.approx(nats[0], abs=2e-5)
    assert abs(nats[0] - nats[1]) > 1e-3


def test_the_best_model_is_kept_and_early_stopping_stops(tmp_path: Path) -> None:
    config = settings(tmp_path, "names", lr=0.3)
    config["data"]["init_args"]["val"] = 80  # little to train on, so it soon gets worse
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping"}
    config["trainer"] |= {"max_steps": 200, "val_check_interval": 4}
    config["trainer"]["callbacks"] = [{**stopping, "init_args": {"monitor": "val_nats", "patience": 3}}]
    assert train(tmp_path / "run", config) == 0
    scores = [(float(row["val_nats"]), int(row["step"])) for row in rows(tmp_path / "run")]
    best = scores.index(min(scores))
    assert len(scores) == best + 4 < 50
    kept = provenance(tmp_path / "run")
    assert (pytest.approx(kept["val_nats"], abs=1e-5), kept["step"]) == scores[best]


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_ngram_counts_every_item_once(tmp_path: Path, epochs: int) -> None:
    config = settings(tmp_path, "names")
    config["model"]["model"] = {"class_path": "NGram", "init_args": {"order": 2}}
    config["data"]["init_args"]["batch_size"] = 16  # 105 items: the last batch is not full
    config["trainer"] |= {
        "max_steps": -1,
        "max_epochs": epochs,
        "check_val_every_n_epoch": 1,
        "val_check_interval": 1.0,
    }
    assert train(tmp_path / "run", config) == 0
    data = Lines(**config["data"]["init_args"])
    data.setup()
    items = [item.text for item in data._items()]
    training, held_out = ([items[place] for place in data.parts[part]] for part in ("train", "val"))
    assert len(training) == 105
    nats = symbols = 0.0
    for item in held_out:
        for history, symbol in zip("^" + item, item + "$", strict=True):
            nats, symbols = nats - math.log(witten_bell(training, history, symbol, data.symbols_known)), symbols + 1
    assert sum(s.total.nats for s in seqgen.load(tmp_path / "run").score(held_out)) == pytest.approx(nats, rel=1e-9)
    assert provenance(tmp_path / "run")["val_nats"] == pytest.approx(nats / symbols, rel=1e-6)


def witten_bell(training: list[str], history: str, symbol: str, classes: int) -> float:
    """p(symbol | history) of a bigram by the formula, straight from the texts."""
    p = 1 / classes
    pairs = [pair for item in training for pair in zip("^" + item, item + "$", strict=True)]
    for followers in ([b for _, b in pairs], [b for a, b in pairs if a == history]):
        kinds = len(set(followers))
        p = (followers.count(symbol) + kinds * p) / (len(followers) + kinds) if followers else p
    return p


def test_a_label_is_dropped_for_a_whole_sequence_in_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    advance = RNN.advance

    def spy(self: RNN, x: Any, carry: Any = None, context: Any = None) -> Any:
        told[self.training].append(context.labels[:, 0])
        return advance(self, x, carry, context)

    monkeypatch.setattr(RNN, "advance", spy)
    config = settings(tmp_path, "table", label_dropout=0.4)
    config["trainer"] |= {"max_steps": 24, "val_check_interval": 24}
    assert train(tmp_path / "run", config) == 0
    training = torch.cat(told[True])
    assert 0.3 < (training == 0).double().mean() < 0.5
    assert set(training.tolist()) == {0, 1, 2}
    # Validation, and the calibration without labels and with them.
    assert [bool((batch > 0).all()) for batch in told[False]] == [True, False, True]
    assert not told[False][1].any()


@pytest.mark.parametrize("model", [FVSBN, NADE, MADE])
def test_no_bias_decays_even_if_it_is_a_matrix(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "_steps", lambda self: 10.0)
    training = Training(model, lr=0.1, weight_decay=5.0, warmup=1)
    training.model = model(Bernoulli(), dimensions=4)
    for parameter in training.model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    made = training.configure_optimizers()
    made["optimizer"].step()
    decayed = {name for name, parameter in training.model.named_parameters() if (parameter == 0.5).all()}
    kept = {name for name, parameter in training.model.named_parameters() if (parameter == 1.0).all()}
    assert "bias" in kept
    assert all("bias" in name for name in kept)
    assert decayed
    assert not any("bias" in name for name in decayed)
    assert len(kept) + len(decayed) == len(list(training.model.parameters()))


# -- what a resumed run takes from now


def test_a_resumed_run_takes_the_learning_rate_and_decay_of_now(tmp_path: Path) -> None:
    run, config = tmp_path / "run", settings(tmp_path, "text", final_lr=1.0)
    assert train(run, config, "--trainer.max_steps=6") == 0
    arguments = ["--model.lr=0.005", "--model.weight_decay=0.2", "--model.betas=[0.8,0.9]", "--trainer.max_steps=12"]
    assert fit.main([f"--run={run}", "--resume", *arguments]) == 0
    assert [float(row["learning_rate"]) for row in rows(run)] == [0.03, 0.005]
    groups = last(run)["optimizer_states"][0]["param_groups"]
    assert [(group["lr"], tuple(group["betas"]), group["weight_decay"]) for group in groups] == [
        (0.005, (0.8, 0.9), 0.2),
        (0.005, (0.8, 0.9), 0.0),
    ]


@pytest.mark.parametrize("kind", ["names", "ngram"])
def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, config = tmp_path / "run", settings(tmp_path, "names")
    if kind == "ngram":
        config["model"]["model"] = {"class_path": "NGram", "init_args": {"order": 2}}
        config["trainer"] |= {"max_steps": -1, "max_epochs": 1, "check_val_every_n_epoch": 1, "val_check_interval": 1.0}
    assert train(run, config) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert fit.main([f"--run={run}", "--resume"]) == 0
    assert "nothing left to do, it has trained for" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_resumed_run_keeps_the_best_of_the_last_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last validation comes behind the last checkpoint, which does not know its score."""
    run, config = tmp_path / "run", settings(tmp_path, "names")
    assert train(run, config, "--trainer.max_steps=7") == 0
    kept = provenance(run)
    assert kept["step"] == 7
    worse = [kept["val_nats"] + 0.1] * 2
    epoch_end = Training.on_validation_epoch_end

    def pretend(self: Training) -> None:
        self.sums = (worse.pop() * self.sums[1], self.sums[1])
        epoch_end(self)

    monkeypatch.setattr(Training, "on_validation_epoch_end", pretend)
    assert fit.main([f"--run={run}", "--resume", "--trainer.max_steps=13"]) == 0
    assert worse == []
    assert provenance(run) == kept


# -- what is refused


def test_mixed_precision_trains_and_judges_in_float32(tmp_path: Path) -> None:
    """bfloat16 products, and log-probabilities that are not rounded to its three digits."""
    config = settings(tmp_path, "text", ema=0.9)
    config["trainer"] |= {"precision": "bf16-mixed", "max_steps": 6, "gradient_clip_val": 1.0}
    assert train(tmp_path / "run", config) == 0
    model = seqgen.load(tmp_path / "run")
    nats = [score.total.nats_per_symbol for score in model.score_pieces([PROSE[-100:-40]])]
    assert abs(nats[0] - float(rows(tmp_path / "run")[-1]["val_nats"])) < 0.2
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(("slowdown", "said"), [(46.5, True), (0.6, False)])
def test_a_precision_that_is_slower_here_is_mentioned(
    tmp_path: Path, slowdown: float, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seqgen.training.module.bfloat16_slowdown", lambda: slowdown)
    config = settings(tmp_path, "text")
    config["trainer"] |= {"precision": "bf16-mixed", "max_steps": 3}
    assert train(tmp_path / "run", config) == 0
    note = "note: products in bfloat16 take 46.5 times as long as in float32 on this processor"
    assert (note in capsys.readouterr().err.splitlines()) == said


def test_the_slowdown_is_measured() -> None:
    assert 0.01 < bfloat16_slowdown(64) < 1000


def test_mixed_precision_is_refused_where_parameters_need_more_digits(tmp_path: Path) -> None:
    config = settings(tmp_path, "text")
    (tmp_path / "x.csv").write_text("\n".join(f"{number},{number % 7}" for number in range(60)))
    config["data"] = {"class_path": "Table", "init_args": {"path": str(tmp_path / "x.csv"), "batch_size": 9}}
    config["model"]["model"] = {"class_path": "NADE", "init_args": {"dimensions": 2, "hidden": 4}}
    config["model"]["output"] = {"class_path": "Gaussians", "init_args": {"mixtures": 2}}
    config["trainer"] |= {"precision": "bf16-mixed", "max_steps": 6}
    with pytest.raises(ValueError, match=r"the parameters of Gaussians need more, expected precision 32-true"):
        train(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()  # nor events of a training that never began


@pytest.mark.parametrize("batch", [4, 5, 6])  # in, in, and at the end of a step of three
def test_a_resumed_run_is_the_same_where_gradients_are_summed(tmp_path: Path, batch: int) -> None:
    config = settings(tmp_path, "names")
    config["trainer"] |= {"accumulate_grad_batches": 3, "max_steps": 6, "val_check_interval": 4}
    assert train(tmp_path / "whole", config) == 0
    training_step, seen = Training.training_step, []

    def interrupted(self: Training, given: Any, batch_idx: int) -> Any:
        seen.append(batch_idx)
        if len(seen) == batch:
            signal.raise_signal(signal.SIGINT)
        return training_step(self, given, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "training_step", interrupted)
        assert train(tmp_path / "run", config) == 130
    assert last(tmp_path / "run")["global_step"] == 2
    assert fit.main(["--run", str(tmp_path / "run"), "--resume"]) == 0
    one, other = last(tmp_path / "run"), last(tmp_path / "whole")
    assert all(same(one[what], other[what]) for what in ("global_step", "state_dict", "optimizer_states"))


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path) -> None:
    config = settings(tmp_path, "text", lr=3e37)
    config["model"]["model"]["init_args"]["hidden"] = 64
    with pytest.raises(ValueError, match=r"^the loss is (nan|inf) at step \d+; try a lower learning rate than 3e\+37$"):
        train(tmp_path / "run", config)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"lr": -1.0}, {"lr": math.inf}, {"ema": 1.0}, {"ema": -0.1}])
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a positive lr and an ema from 0 to below 1"):
        Training(lambda output, labels: None, **change)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("none", ["--trainer.max_steps=0", "--trainer.max_epochs=0"])
def test_no_steps_are_refused(tmp_path: Path, none: str) -> None:
    with pytest.raises(ValueError, match=r"nothing to train: max_steps (0, max_epochs None|24, max_epochs 0)"):
        train(tmp_path / "run", settings(tmp_path, "names"), none)
    assert not (tmp_path / "run").exists()


def test_the_progress_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shown, flags in (("told", True, []), ("quiet", False, ["--trainer.enable_progress_bar=false"])):
        assert train(tmp_path / name, settings(tmp_path, "names"), *flags) == 0
        assert ("step 12 epoch" in capsys.readouterr().err) == shown
