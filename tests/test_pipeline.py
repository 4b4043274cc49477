"""What users hold: sampling, streaming and scoring of text with labels and prompts."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from examples import nade, ngram, rnn

import seqgen
from seqgen import Pipeline
from seqgen.codec import UnknownSymbol
from seqgen.codecs import Chars, Table
from seqgen.inference.detect import Calibration
from seqgen.outputs import Categorical, Gaussians

LABELS = {"sex": ["F", "M"], "year": ["old", "new", "newest"]}


def pipeline(labels: dict[str, list[str]] | None = None, end: bool = True, unknown: bool = False) -> Pipeline:
    codec = Chars("abc", end=end, unknown=unknown)
    counts = [len(classes) for classes in (labels or {}).values()]
    return Pipeline(rnn(Categorical(codec.size), labels=counts).double(), codec, labels)


# Sampling


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    pipeline().save_pretrained(tmp_path / "model")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    seqgen.load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_begin_with_the_prompt_and_are_the_same_for_the_same_seed() -> None:
    made = pipeline()
    five = made.sample(5, prompt="ab", seed=1)
    assert all(item.startswith("ab") for item in five)
    assert made.sample(20, prompt="ab", seed=1)[:5] == five
    assert made.sample(5, prompt="ab", seed=2) != five
    assert len({made.sample(prompt="", length=60)[0] for _ in range(5)}) > 1


@pytest.mark.parametrize("prompt", ["", "a", "abccba"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"temperature": 1.5, "top_k": 2, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("end", [True, False])
def test_stream_joined_is_sample(prompt: str, options: dict[str, Any], end: bool) -> None:
    made = pipeline(LABELS, end)
    for seed in range(5):
        arguments = {"prompt": prompt, "length": 30, "seed": seed, "label": {"year": "new"}, **options}
        assert "".join(made.stream(**arguments)) == made.sample(**arguments)[0]


def test_length_counts_the_symbols_behind_the_prompt() -> None:
    made = pipeline(end=False)
    assert [len(item) for item in made.sample(3, prompt="abc", length=7, seed=0)] == [10] * 3
    assert made.sample(2, prompt="abc", length=0) == ["abc", "abc"]
    assert "".join(made.stream(prompt="abc", length=0)) == "abc"


def test_the_unknown_symbol_is_never_drawn_and_may_stand_in_a_prompt() -> None:
    made = pipeline(unknown=True)
    made.model.readout.bias.data[made.codec.unknown] = 30.0
    assert all("\ufffd" not in item for item in made.sample(50, seed=0))
    assert made.sample(prompt="aé", seed=0)[0].startswith("a\ufffd")
    assert made.score("é", end=False).log_prob > -1


def test_the_model_stays_in_its_mode_and_is_evaluated_without_dropout() -> None:
    model = rnn(Categorical(3), dropout=0.9).train()
    made = Pipeline(model, Chars("abc"))
    assert made.score("abc").log_prob == made.score("abc").log_prob
    assert made.sample(3, seed=1) == made.sample(3, seed=1)
    assert "".join(made.stream(length=20, seed=1)) == made.sample(length=20, seed=1)[0]
    assert made.next_probs("ab") == made.next_probs("ab")
    assert model.training
    assert not Pipeline(model.eval(), Chars("abc")).model.training


def test_what_people_try_first() -> None:
    """A collection of any common kind, a p-value of an item, the next symbol's probabilities, another device."""
    made = pipeline()
    made.calibration = Calibration(torch.linspace(-3, 0, 19).expand(1, -1).double(), torch.full((19,), 3.0))
    expected = [score.log_prob for score in made.score(["ab", "c"])]
    for items in (("ab", "c"), np.array(["ab", "c"]), np.array(["ab", "c"], object), pandas.Series(["ab", "c"])):
        assert [score.log_prob for score in made.score(items)] == pytest.approx(expected)
    ranked = made.score(["ab", "c"], p_value="low")
    assert made.p_value(["ab", "c"]) == [one.p_value for one in ranked]
    assert made.p_value("ab") == made.p_value(ranked[0].total) == ranked[0].p_value
    probs = made.next_probs("ab")
    assert sum(probs.values()) == pytest.approx(1)
    assert list(probs.values()) == sorted(probs.values(), reverse=True)
    assert math.log(probs["c"]) == pytest.approx(made.score("abc").log_probs[2].item(), abs=1e-6)
    assert made.to("cpu") is made
    with pytest.raises(seqgen.SeqgenError, match="device 'gpu' cannot be used"):
        made.to("gpu")
    rows = Pipeline(nade(Gaussians(), dimensions=2), Table(["a", "b"], [0.0, 0.0], [1.0, 1.0]))
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert len(rows.score(frame)) == len(rows.score(np.ones((2, 2)))) == 2
    with pytest.raises(seqgen.SeqgenError, match="numbers, whose densities"):
        rows.next_probs("1,")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        *(({"n": n}, ValueError) for n in (0, -1, 1.0, True, "2", None)),
        *(({"length": length}, ValueError) for length in (-1, 2.5, "2", True)),
        *(({"seed": seed}, ValueError) for seed in (-1, 2**63, 1.0, "1", True)),
        ({"temperature": -1}, ValueError),
        ({"temperature": float("nan")}, ValueError),
        ({"top_k": 1.5}, TypeError),
        ({"top_p": 0}, ValueError),
        ({"prompt": "abx"}, UnknownSymbol),
        ({"label": "F"}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments_raise_at_once(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Of `stream` too, before its first piece is asked for."""
    with pytest.raises(error):
        pipeline().sample(**arguments)
    if "n" not in arguments:
        with pytest.raises(error):
            pipeline().stream(**arguments)


# Scoring


def test_a_list_scores_as_its_items_do_one_by_one() -> None:
    """Items of all lengths, more of them than a batch holds, in their own order."""
    made = pipeline()
    items = ["".join(item) for length in range(5) for item in itertools.product("abc", repeat=length)]
    assert len(items) > 100
    for item, scores in zip(items, made.score(items), strict=True):
        alone = made.score(item)
        torch.testing.assert_close(scores.log_probs, alone.log_probs, rtol=0, atol=1e-10)
        torch.testing.assert_close(scores.entropies, alone.entropies, rtol=0, atol=1e-10)
        assert scores.names == alone.names == [*item, "<end>"]
        assert scores.ranks.tolist() == alone.ranks.tolist()
    assert made.score([]) == []


def test_score_is_the_models_log_prob() -> None:
    made = pipeline()
    x = made.codec.close(made.codec.encode("abcab"))
    expected = made.model.log_prob(x.unsqueeze(0))[0]
    torch.testing.assert_close(made.score("abcab").log_probs, expected.detach(), rtol=0, atol=1e-12)


def test_probabilities_of_all_short_texts_and_of_the_rest_sum_to_one() -> None:
    """p(ended by now) + p(not yet ended) = 1: the end symbol is a symbol like any other."""
    made = pipeline()
    texts = ["".join(item) for length in range(4) for item in itertools.product("abc", repeat=length)]
    ended = made.score([text for text in texts if len(text) < 3])
    going = made.score([text for text in texts if len(text) == 3], end=False)
    assert sum(math.exp(one.log_prob) for one in ended + going) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("label", [None, {"sex": "M"}, {"year": "newest", "sex": "F"}], ids=str)
def test_a_prefix_is_the_difference_of_two_scores(label: dict[str, str] | None) -> None:
    """log p(item | prefix) = log p(prefix item) - log p(prefix)."""
    made = pipeline(LABELS)
    whole, before = made.score("abcab", label=label), made.score("abc", label=label, end=False)
    rest = made.score("ab", prefix="abc", label=label)
    assert rest.log_prob == pytest.approx(whole.log_prob - before.log_prob, abs=1e-9)
    assert rest.names == ["a", "b", "<end>"]
    assert rest.total.units == 2


def test_the_end_is_counted_or_not_and_says_so() -> None:
    made = pipeline()
    ended, open_ = made.score("ab"), made.score("ab", end=False)
    assert ended.end_counted
    assert not open_.end_counted
    assert (ended.total.symbols, ended.total.units, open_.total.symbols) == (3, 2, 2)
    torch.testing.assert_close(ended.log_probs[:2], open_.log_probs, rtol=0, atol=1e-12)
    assert not pipeline(end=False).score("ab").end_counted


def test_the_empty_text() -> None:
    made = pipeline()
    empty = made.score("")
    assert empty.names == ["<end>"]
    assert empty.total.units == 0
    assert empty.as_dict()["bits_per_character"] is None
    with pytest.raises(ValueError, match="item 1 is empty"):
        made.score(["a", ""], end=False)
    with pytest.raises(ValueError, match="nothing to score"):
        pipeline(end=False).score("")
    assert list(made.score_pieces([], end=False)) == []
    assert sum(part.log_prob for part in made.score_pieces([])) == pytest.approx(empty.log_prob)


def test_scores_as_json() -> None:
    found = json.loads(json.dumps(pipeline().score("ab").as_dict(), allow_nan=False))
    assert [one["symbol"] for one in found["per_symbol"]] == ["a", "b", "<end>"]
    assert found["nats"] == pytest.approx(-sum(one["log_prob"] for one in found["per_symbol"]))
    assert found["end_counted"] is True


def test_unknown_characters_raise_with_their_place() -> None:
    with pytest.raises(UnknownSymbol, match="position 2 "):
        pipeline().score("abx")
    with pytest.raises(UnknownSymbol, match="position 4 "):
        list(pipeline().score_pieces(["abc", "ax"]))


# Labels


@pytest.mark.parametrize("item", [None, 3, {"a"}, b"ab", [None], ["a", 3]])
def test_what_is_no_text_is_refused(item: Any) -> None:
    with pytest.raises(TypeError, match=r"of type .*, expected text \(str\)"):
        pipeline().score(item)
    if item is not None:
        with pytest.raises(TypeError, match=r"of type .*, expected text \(str\)"):
            pipeline().sample(prompt=item)


def test_a_large_alphabet_takes_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pipeline()
    expected = model.score(["abcabc", "cab"])
    monkeypatch.setattr("seqgen.inference.score.NUMBERS", 2 * 4 * 2)  # two symbols at a time
    for got, score in zip(model.score(["abcabc", "cab"]), expected, strict=True):
        torch.testing.assert_close(got.log_probs, score.log_probs)


def test_labels_reach_the_model() -> None:
    made = pipeline(LABELS)
    scores = {str(label): made.score("ab", label=label).log_prob for label in (None, {"sex": "F"}, {"sex": "M"})}
    assert len(set(scores.values())) == 3
    assert made.score("ab", label={}).log_prob == scores["None"]
    both = made.conditioning.context({"year": "newest", "sex": "M"}, 2)
    assert both.labels.tolist() == [[2, 3], [2, 3]]
    assert made.conditioning.context({"year": "old"}, 1).labels.tolist() == [[0, 1]]


def test_a_single_label_needs_no_name() -> None:
    made = pipeline({"sex": ["F", "M"]})
    one, other = (made.conditioning.context(label, 1).labels.tolist() for label in ("M", {"sex": "M"}))
    assert one == other == [[2]]


@pytest.mark.parametrize(
    ("labels", "label", "message"),
    [
        (LABELS, "F", "sex: F, M; year: old, new, newest"),
        (LABELS, {"sex": "X"}, "no label sex=X; .* sex: F, M"),
        (LABELS, {"colour": "F"}, "no label colour=F"),
        (LABELS, {"sex": None}, "no label sex=None"),
        (None, {"sex": "F"}, "the model's labels are none"),
        (None, "F", "the model's labels are none"),
        ({"sex": ["F"]}, "M", "no label sex=M"),
    ],
)
def test_labels_that_the_model_lacks(labels: dict[str, list[str]] | None, label: Any, message: str) -> None:
    for call in (pipeline(labels).score, lambda item, label: pipeline(labels).sample(prompt=item, label=label)):
        with pytest.raises(ValueError, match=message):
            call("a", label=label)


@pytest.mark.parametrize("model", [rnn(Categorical(3)), ngram(Categorical(3))], ids=["RNN", "NGram"])
def test_no_labels_said_to_a_model_without_labels(model: Any) -> None:
    made = Pipeline(model, Chars("abc"))
    assert made.score("ab", label={}).log_prob == made.score("ab").log_prob


# The package


def test_the_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from seqgen import *", namespace)
    names = {"Codec", "Model", "Output", "Pipeline", "Sampling", "Scores", "SeqgenError", "load"}
    assert names == set(namespace) - {"__builtins__"} == set(seqgen.__all__)
    assert names <= set(dir(seqgen))
    assert namespace["Pipeline"] is Pipeline
    with pytest.raises(AttributeError, match="module 'seqgen' has no attribute 'Lightning'"):
        _ = seqgen.Lightning
    assert not hasattr(seqgen, "lead")


USE = """
import sys, json
import torch
before = set(sys.modules)
import seqgen
lazy = sorted(name for name in set(sys.modules) - before if name.startswith("seqgen."))
made = seqgen.load(sys.argv[1])
made.score("abc")
scored = {name.split(".")[0] for name in set(sys.modules) - before}
made.sample(2, prompt="a"), list(made.stream())
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps([lazy, *(sorted(one - set(sys.stdlib_module_names)) for one in (scored, new))]))
"""
COMPILER = {"numba", "llvmlite", "scipy", "yaml", "cython_runtime", "pycparser", "cffi", "charset_normalizer"}


def test_first_use_costs_no_more_than_torch(tmp_path: Any) -> None:
    """What torch has not imported: to score nothing heavy, to sample numba; no lightning, gradio, librosa."""
    pipeline().save_pretrained(tmp_path / "model")
    ran = subprocess.run([sys.executable, "-c", USE, tmp_path], capture_output=True, text=True, check=True)
    lazy, scored, new = json.loads(ran.stdout)
    assert lazy == []
    own = {"seqgen", "safetensors", "numpy", "packaging", "platformdirs"}
    assert {name for name in new if not name.startswith("_")} - COMPILER <= own
    assert set(scored) <= own
