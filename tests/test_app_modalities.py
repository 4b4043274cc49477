"""Tabs and endpoints of a modality without a tab of its own: tables. tests/test_fifth_kind.py has one from outside.

The app runs without network, without Lightning, without the data modules, and without the corpora of its models.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import served
from gradio_client import Client
from gradio_client.exceptions import AppError

import seqgen
from seqgen.checkpoints.training_texts import TrainingTexts
from seqgen.codecs import Chars
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen_app.catalog import Catalog
from seqgen_app.limits import Limits, Refused
from seqgen_app.page import tabs
from seqgen_app.tab import TABS, register
from seqgen_app.tabs import GenericTab, ImageTab, SoundTab, TextTab

LIMITS = Limits()


def blocked(program: str, folder: Path) -> str:
    """What a Python program that fails prints where the app is run."""
    env = {**os.environ, **served.blocking(folder)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.fixture(scope="module")
def client(app: served.App) -> Client:
    return Client(app.url, verbose=False)


@pytest.fixture(scope="module")
def catalog(app: served.App) -> Catalog:
    return Catalog.load([app.folder / "rows"])


@pytest.fixture(scope="module")
def rows(app: served.App) -> Pipeline:
    return seqgen.load(app.folder / "rows")


# -- what the app needs


@pytest.mark.parametrize("name", ["lightning", "seqgen.data"])
def test_imports_are_blocked(tmp_path: Path, name: str) -> None:
    assert f"blocked import of {name}" in blocked(f"import {name}", tmp_path)


def test_the_network_is_blocked(tmp_path: Path) -> None:
    program = "import urllib.request; urllib.request.urlopen('http://example.org')"
    assert "blocked connection to example.org" in blocked(program, tmp_path)


def test_new_texts_are_told_without_network_lightning_and_data_modules(app: served.App, client: Client) -> None:
    told = client.predict("names", n=50, seed=1, api_name="/sample_text")
    known = seqgen.load("names").training_texts
    assert known is not None
    assert told["new"] == [text not in known for text in told["texts"]]
    assert set(told["new"]) == {True, False}
    assert "blocked" not in app.printed()
    assert "Traceback" not in app.printed()


def test_new_texts_are_told_without_the_corpus(tmp_path: Path) -> None:
    """Its file is gone."""
    codec, texts = Chars("abc", end=True), TrainingTexts.of(["a", "b", "c", "aa", ""])
    assert codec.size is not None
    pipeline = Pipeline(RNN(Categorical(codec.size), hidden=3), codec, training_texts=texts)
    pipeline.save_pretrained(tmp_path / "lost" / "model")
    data = {"class_path": "Lines", "init_args": {"path": str(tmp_path / "gone.txt")}}
    (tmp_path / "lost" / "config.yaml").write_text(json.dumps({"data": data}))
    catalog = Catalog.load([tmp_path / "lost"])
    text = catalog.get("lost").modality
    *_, told = TextTab(text, catalog.of(text), LIMITS).sample_text("lost", n=50, seed=1)
    assert told["new"] == [text not in texts for text in told["texts"]]
    assert set(told["new"]) == {True, False}


# -- tabs


def test_every_modality_has_a_tab_and_endpoints(client: Client) -> None:
    titles = [one["props"]["label"] for one in client.config["components"] if one["type"] == "tabitem"]
    kinds = ["Text", "Sound", "Image", "Table"]
    assert titles == ["Text", "Audio", "Images", "Table", "Score", *kinds, "Compare", "About"]
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = [f"/{verb}_{kind}" for kind in ("text", "audio", "image", "table") for verb in ("sample", "score")]
    assert sorted(told) == sorted(names)
    assert all(endpoint["description"] for endpoint in told.values())


def test_tabs_are_those_of_the_models(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [type(tab) for tab in tabs(catalog, LIMITS)]
    assert classes == [TextTab, SoundTab, ImageTab, GenericTab]
    table = catalog.of(catalog.get("rows").modality)
    assert table.names == ["rows"]
    assert [type(tab) for tab in tabs(table, LIMITS)] == [GenericTab]

    class OwnTab(GenericTab):
        title = "Spreadsheets"

    monkeypatch.setitem(TABS, "table", OwnTab)
    register("table", OwnTab)
    assert [tab.title for tab in tabs(table, LIMITS)] == ["Spreadsheets"]
    with pytest.raises(seqgen.SeqgenError, match="two tabs for the modality 'table'"):
        register("table", GenericTab)


# -- tables


def test_sample_table_is_what_the_library_samples(client: Client, rows: Pipeline) -> None:
    told = client.predict("rows", n=4, seed=3, temperature=0.7, api_name="/sample_table")
    expected = rows.sample(4, seed=3, temperature=0.7)
    assert told["items"] == [pytest.approx(row) for row in expected]
    assert told["text"] == rows.modality.show(rows.codec, expected)
    assert [Path(path).name for path in told["files"]] == ["samples.csv"]
    assert Path(told["files"][0]).read_text() == told["text"] + "\n"
    assert (told["seed"], told["done"], told["note"]) == (3, True, "")
    again = client.predict("rows", api_name="/sample_table")
    same = client.predict("rows", seed=again["seed"], api_name="/sample_table")
    assert again["items"] == same["items"]


def test_a_row_is_completed(client: Client, rows: Pipeline) -> None:
    told = client.predict("rows", "7.5,,", n=3, seed=1, api_name="/sample_table")
    assert [row["height"] for row in told["items"]] == [7.5] * 3
    assert told["items"] == [pytest.approx(row) for row in rows.sample(3, prompt="7.5,,", seed=1)]


def test_score_table_is_what_the_library_scores(client: Client, rows: Pipeline) -> None:
    told = client.predict("rows", "9, 1.5, 0.25", api_name="/score_table")
    expected = rows.score("9,1.5,0.25", p_value="low")
    assert told["nats"] == pytest.approx(expected.total.nats)
    assert told["p_value"] == pytest.approx(expected.p_value)
    assert 0 < told["p_value"] < 1
    assert [one["name"] for one in told["per_symbol"]] == ["height=9", "width=1.5", "depth=0.25"]
    assert sum(one["bits"] for one in told["per_symbol"]) == pytest.approx(expected.total.bits)
    assert [one["rank"] for one in told["per_symbol"]] == [None] * 3


def test_a_table_is_shown_as_on_a_terminal(
    catalog: Catalog, rows: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    table = catalog.get("rows").modality
    tab = GenericTab(table, catalog.of(table), LIMITS)
    *_, (shown, status, written, plain, seed) = tab.show_samples("rows", "", 2, 1.0, 5)
    expected = rows.sample(2, seed=5)
    assert shown == f'<pre class="items">{table.show(rows.codec, expected)}</pre>'
    assert (status, seed) == ("2 rows. ", "5")
    assert [Path(path).suffix for path in written["value"]] == [".csv"]
    assert written["visible"]
    assert plain == expected
    numbers, symbols = tab.show_scores("rows", "9,1.5,0.25")
    total = rows.score("9,1.5,0.25").total
    assert f"{total.nats:.3f} nats" in numbers
    assert "p-value" in numbers
    assert "Of 100 rows that the model was not trained on" in numbers
    assert "<td>width=1.5</td>" in symbols
    assert "rank" not in symbols


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("sample_table", {"model": "names"}, "There is no model of tables 'names'"),
        ("sample_text", {"model": "rows"}, "There is no model of text 'rows'"),
        ("sample_table", {"model": "rows", "n": 51}, "How many is 51, expected a whole number from 1 to 50"),
        ("sample_table", {"model": "rows", "temperature": 4}, "The temperature is 4, expected"),
        ("sample_table", {"model": "rows", "prompt": "1,2"}, "2 cells, expected 3"),
        ("sample_table", {"model": "rows", "label": "F"}, "Its labels: none"),
        ("score_table", {"model": "rows", "item": " "}, "There is nothing to score: enter a row"),
        ("score_table", {"model": "rows", "item": "1,2,x"}, "'x' is no"),
        ("score_table", {"model": "rows", "item": "1," * 3000}, "The row has 6,000 characters"),
        ("score_table", {"model": "rows", "item": "/etc/passwd"}, "The row is the name of a file"),
        ("sample_table", {"model": "rows", "prompt": "/etc"}, "The prompt is the name of a file"),
    ],
)
def test_mistakes_are_told(client: Client, name: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError, match=told):
        client.predict(**values, api_name=f"/{name}")


def test_items_that_no_text_can_hold_come_as_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    catalog = Catalog.load()
    sound = catalog.get("digits-speech").modality
    tab = GenericTab(sound, catalog.of(sound), Limits(length=200))
    *_, (shown, status, written, plain, _) = tab.show_samples("digits-speech", "", 2, 1.0, 3)
    assert "The clips are in the files." in shown
    assert status.startswith("2 clips.")
    assert [Path(path).name for path in written["value"]] == ["samples-1.wav", "samples-2.wav"]
    assert plain == []


def test_a_deadline_ends_sampling(catalog: Catalog) -> None:
    table = catalog.get("rows").modality
    late = GenericTab(table, catalog.of(table), Limits(deadline=-1))
    with pytest.raises(Refused, match="took more than"):
        list(late._sample(catalog.get("rows"), "", 2, None, 1.0, 1))
    with pytest.raises(gr.Error, match="took more than"):
        late.show_scores("rows", "9,1.5,0.25")
