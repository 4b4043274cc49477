"""The app's limits, its models, its endpoints of text and sound, and what its server refuses."""

import itertools
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import served
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import seqgen
from seqgen.checkpoints.folder import CheckpointError
from seqgen.checkpoints.training_texts import TrainingTexts
from seqgen.cli.main import main
from seqgen.codecs import Chars
from seqgen.media.audio import Clip
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen_app import scores, serve
from seqgen_app.catalog import Catalog, Entry
from seqgen_app.errors import UNEXPECTED, report_errors
from seqgen_app.guard import _depth
from seqgen_app.limits import Limits, Refused
from seqgen_app.tabs import SoundTab, sound, sound_request, text_html, text_request

LIMITS = Limits()
POST = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(app: served.App) -> Client:
    return Client(app.url, verbose=False)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(1600) / 9), 16000)
    return path


# -- limits

WRONG = [math.nan, math.inf, -math.inf, -0.1, 3.1, 10**400, True, None, "1", "nan", [1], {"a": 1}]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_temperature_is_a_finite_number_in_its_range(value: Any) -> None:
    with pytest.raises(Refused, match=r"^The temperature is .*, expected a number from 0 to 3\.$"):
        LIMITS.sampling(value)


def test_what_is_allowed_is_given_back() -> None:
    assert LIMITS.sampling(0, 5.0, 1) == {"temperature": 0.0, "top_k": 5, "top_p": 1.0}
    assert LIMITS.sampling(3, 1000, 0.5) == {"temperature": 3.0, "top_k": 1000, "top_p": 0.5}
    assert [LIMITS.seed(value) for value in (0, "7", 7.0, 2**31 - 1)] == [0, 7, 7, 2**31 - 1]
    new = [LIMITS.seed(value) for value in (None, "") * 5]
    assert len(set(new)) == 10
    assert all(0 <= seed < 2**31 for seed in new)
    assert LIMITS.text("The text", None, 3) == ""


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: LIMITS.sampling(1, 1.5), "Top-k is 1.5, expected a whole number from 0 to 1000"),
        (lambda: LIMITS.sampling(1, -1), "Top-k is -1, expected"),
        (lambda: LIMITS.sampling(1, 0, 0), "Top-p is 0, expected more than 0"),
        (lambda: LIMITS.sampling(1, 0, math.nan), "Top-p is nan, expected"),
        (lambda: LIMITS.seed(2**31), "The seed is 2147483648, expected"),
        (lambda: LIMITS.seed("-1"), "The seed is '-1', expected"),
        (lambda: LIMITS.seed("9" * 5000), "The seed is '999"),
        (lambda: LIMITS.whole("The length", 10**400, 1, 9), "The length is a number of more than 20 digits"),
        (lambda: LIMITS.text("The text", "abcd", 3), "The text has 4 characters, expected 3 at most"),
        (lambda: LIMITS.text("The text", ["a"], 3), "The text is list, expected a text"),
    ],
)
def test_what_is_refused_is_told(check: Any, told: str) -> None:
    with pytest.raises(Refused) as refused:
        check()
    assert str(refused.value).startswith(told)
    assert len(str(refused.value)) < 120


def test_a_deadline_ends_a_text_and_a_batch_and_a_clip(catalog: Catalog) -> None:
    hasty = Limits(deadline=0.02)
    plays, names, digits = (catalog.get(name) for name in ("shakespeare", "names", "digits-speech"))
    written = list(text_request.sample(plays, hasty, text_request.check(plays, hasty, length=2000)))
    assert written[-1].note.startswith("Stopped after")
    assert 0 < len(written[-1].texts[0]) < 2000
    late = Limits(deadline=-1)
    with pytest.raises(Refused, match="took more than"):
        list(text_request.sample(names, late, text_request.check(names, late, n=2)))
    spoken = list(sound_request.sample(digits, hasty, sound_request.check(digits, hasty, 10, "digit=3", seed=1)))
    assert spoken[-1].done
    with pytest.raises(Refused, match="took more than"):
        text_request.score(names, late, "Maria")


def test_closing_a_generator_stops_a_batch_at_its_next_symbol(catalog: Catalog) -> None:
    plays = catalog.get("shakespeare")
    before = threading.active_count()
    writing = text_request.sample(plays, LIMITS, text_request.check(plays, LIMITS, length=2000, n=10))
    next(writing)
    next(writing)
    assert threading.active_count() > before
    began = time.monotonic()
    writing.close()
    assert time.monotonic() - began < 1
    assert threading.active_count() == before


# -- models by name


def test_a_model_is_named_and_never_a_path(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("../names", str(tmp_path), "names/", "", None, 3, ["names"], {"path": "/etc"}):
        with pytest.raises(Refused, match=r"There is no model .*; there are: "):
            catalog.get(name)
    sounds = catalog.of(catalog.get("digits-speech").modality)
    assert sounds.names == ["digits-speech", "voice"]
    with pytest.raises(Refused, match="no model of sound 'names'"):
        sounds.get("names")


def test_runs_come_first_and_no_name_is_given_twice(tmp_path: Path) -> None:
    run = served.vocoder(tmp_path / "names")
    names = Catalog.load([run, run / "model"]).names
    assert names[:2] == ["names", "names (2)"]
    assert "names (3)" in names
    with pytest.raises(CheckpointError, match="no model at"):
        Catalog.load([tmp_path / "gone"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [("F", {"sex": "F"}), ("sex = M", {"sex": "M"}), ({"sex": "F"}, {"sex": "F"}), ("", {}), (None, {})],
)
def test_labels_are_said_as_on_the_command_line(catalog: Catalog, said: Any, expected: dict[str, str]) -> None:
    assert catalog.get("names").label(said) == expected


@pytest.mark.parametrize("said", ["X", "age=3", "sex=", 3, ["F"], {"sex": ["F"]}, {"sex": None}, "F, M=1"])
def test_other_labels_are_refused(catalog: Catalog, said: Any) -> None:
    with pytest.raises(Refused, match=r"The model has no label .*\. Its labels: sex: F, M\."):
        catalog.get("names").label(said)


# -- what is shown


def test_text_of_models_and_visitors_is_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">'
    symbol = scores.Symbol(evil, 3.0, 1, 2.0)
    unknown = TrainingTexts(frozenset())
    numbers, table = scores.numbers({evil: evil}, 0.5, evil), scores.table([evil], [[evil]])
    for shown in (text_html.coloured([symbol]), text_html.names([evil], unknown), numbers, table):
        assert "<img" not in shown
        assert 'onerror="' not in shown


def test_names_are_new_or_in_the_training_data(catalog: Catalog) -> None:
    known = catalog.get("names").pipeline.training_texts
    assert known is not None
    assert 20_000 < len(known) < 40_000
    shown = text_html.names(["Maria", "Xqzt"], known)
    assert shown.index("in the training data") < shown.index("Xqzt") < shown.index(">new<")
    assert "badge" not in text_html.names(["Maria"], None)


def test_an_error_of_the_program_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError("/secret/place")

    with pytest.raises(gr.Error) as told:
        report_errors(broken)()
    assert (told.value.message, told.value.print_exception) == (UNEXPECTED, False)
    assert "/secret/place" in capsys.readouterr().err


def test_a_clip_that_is_none_is_refused_without_its_path(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"no sound")
    with pytest.raises(Refused) as refused:
        sound_request.read(str(path), 8000, LIMITS)
    assert str(refused.value).startswith("The clip cannot be decoded")
    assert str(tmp_path) not in str(refused.value)
    soundfile.write(path, np.zeros(21 * 8000), 8000)
    with pytest.raises(Refused, match="longer than 20 s"):
        sound_request.read(str(path), 8000, LIMITS)


def test_the_first_piece_of_a_clip_comes_soon_and_others_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that takes a hundredth of a second for a hundredth of sound."""
    clock = SimpleNamespace(elapsed=0.0, passed=False)

    def stream(**_: Any) -> Iterator[Clip]:
        for _ in range(200):
            clock.elapsed += 0.01
            yield Clip(np.zeros(80, np.float32), 8000)

    monkeypatch.setattr(sound_request, "Deadline", lambda _: clock)
    monkeypatch.setattr(sound_request, "sample_rate", lambda _: 8000)
    entry: Any = SimpleNamespace(pipeline=SimpleNamespace(stream=stream), remark=lambda *_, **__: "")
    request = sound_request.SoundRequest(16000, {}, {}, 1, None, None)
    pieces = list(sound_request.sample(entry, LIMITS, request))
    assert pieces[0].took < 0.08
    assert [one.took for one in pieces] == pytest.approx([0.06, 0.12, 0.25, 0.51, 1.02, 1.52, 2.0], abs=0.025)
    assert sum(len(one.new.samples) for one in pieces) == len(pieces[-1].clip.samples) == 16000


def test_a_live_sound_is_the_clip_without_seams() -> None:
    samples = np.sin(np.arange(8000) / 5).astype(np.float32) * 0.5
    resampler = sound_request.StreamResampler(8000)
    assert resampler.push(Clip(samples[:100], 8000), False) is None
    pieces = [
        resampler.push(Clip(samples[first : first + 700], 8000), first + 700 >= 8000) for first in range(100, 8000, 700)
    ]
    heard = np.concatenate([piece[1] for piece in pieces if piece is not None])
    assert all(piece is None or piece[0] == 48000 for piece in pieces)
    assert abs(len(heard) - 48000) < 10
    assert np.abs(heard[480:47500] / 32768 - 0.5 * np.sin(np.arange(480, 47500) / 30)).max() < 0.01


def test_text_without_a_prompt_begins_in_the_middle_of_one(catalog: Catalog) -> None:
    plays, names = catalog.get("shakespeare"), catalog.get("names")

    def note(entry: Entry, prompt: str, n: int = 1) -> str:
        request = text_request.check(entry, LIMITS, prompt, length=3, n=n, seed=1)
        return list(text_request.sample(entry, LIMITS, request))[-1].note

    assert note(plays, "").startswith("Without a prompt the text begins in the middle")
    assert note(plays, "", 2).startswith("Without a prompt the text begins in the middle")
    assert note(plays, "ROMEO:") == ""
    assert note(names, "") == ""


def test_a_very_short_clip_is_remarked_upon(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = catalog.get("digits-speech")

    def note(samples: int) -> str:
        clip = Clip(np.zeros(samples, np.float32), 8000)
        monkeypatch.setattr(Pipeline, "stream", lambda *values, **named: iter([clip]))
        request = sound_request.check(digits, LIMITS, 1, "digit=3", seed=1)
        return list(sound_request.sample(digits, LIMITS, request))[-1].note

    assert "shorter than 50 ms (the shortest has 3 ms)" in note(24)
    assert note(400) == ""
    with pytest.raises(Refused, match="before the first sample; try another seed"):
        note(0)


# -- endpoints


def test_endpoints_are_documented(client: Client) -> None:
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(told) == {
        f"/{verb}_{kind}" for verb in ("sample", "score") for kind in ("text", "audio", "image", "table")
    }
    assert all(endpoint["description"] for endpoint in told.values())


def test_sample_text_is_what_the_library_samples(client: Client) -> None:
    told = client.predict("names", n=5, label="F", seed=1, temperature=0.7, api_name="/sample_text")
    assert told["texts"] == seqgen.load("names").sample(5, label="F", seed=1, temperature=0.7, length=400)
    assert told["done"]
    assert [type(new) for new in told["new"]] == [bool] * 5
    again = client.predict("names", n=5, api_name="/sample_text")
    same = client.predict("names", n=5, seed=again["seed"], api_name="/sample_text")
    assert again["texts"] == same["texts"]


def test_sample_text_streams(client: Client) -> None:
    job = client.submit("shakespeare", prompt="ROMEO:", length=300, seed=2, api_name="/sample_text")
    pieces = [one["texts"][0] for one in job]
    assert len(pieces) > 1  # several thousand characters a second
    assert all(after.startswith(before) for before, after in itertools.pairwise(pieces))
    (expected,) = seqgen.load("shakespeare").sample(prompt="ROMEO:", length=300, seed=2)
    assert pieces[-1] == expected


def test_a_call_can_be_cancelled(client: Client) -> None:
    job = client.submit("shakespeare", length=2000, api_name="/sample_text")
    while not job.outputs():
        time.sleep(0.01)
    job.cancel()
    began = time.monotonic()
    assert client.predict("names", api_name="/sample_text")["done"]
    assert time.monotonic() - began < 10


def test_sample_audio_and_score_audio(client: Client) -> None:
    told = client.predict("digits-speech", label="digit=3", seconds=0.5, seed=3, api_name="/sample_audio")
    (expected,) = seqgen.load("digits-speech").sample(label={"digit": "3"}, length=4000, seed=3)
    samples, rate = soundfile.read(told["clip"], dtype="float32")
    assert (rate, told["rate"], len(samples)) == (8000, 8000, len(expected.samples))
    assert np.abs(samples - expected.samples).max() < 1 / 30000
    assert told["real_time_factor"] > 0
    scored = client.predict("digits-speech", handle_file(told["clip"]), api_name="/score_audio")
    assert len(scored["bits"]) == len(samples)
    assert sum(scored["bits"]) == pytest.approx(scored["bits_per_symbol"] * scored["symbols"], rel=1e-3)


def test_a_clip_is_continued_and_a_vocoder_is_conditioned_on_it(client: Client, tone: Path) -> None:
    longer = client.predict("digits-speech", 0.1, clip=handle_file(tone), seed=1, api_name="/sample_audio")
    assert 0.1 < longer["seconds"] <= 0.2
    again = client.predict("vocoder", clip=handle_file(tone), seed=1, api_name="/sample_audio")
    assert again["seconds"] == pytest.approx(0.1)
    with pytest.raises(AppError, match="upload or record a clip"):
        client.predict("vocoder", api_name="/sample_audio")


def test_score_text_is_what_the_library_scores(client: Client) -> None:
    told = client.predict("names", "Maria", "F", api_name="/score_text")
    expected = seqgen.load("names").score("Maria", label="F")
    assert told["nats"] == pytest.approx(expected.total.nats)
    assert [one["name"] for one in told["per_symbol"]] == expected.names
    assert [one["rank"] for one in told["per_symbol"]] == expected.ranks.tolist()


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("sample_text", {"model": "runs/names"}, "There is no model of text 'runs/names'"),
        ("sample_text", {"model": "names", "prompt": "Zoë"}, "character 'ë'"),
        ("sample_text", {"model": "names", "temperature": 99}, "The temperature is 99, expected"),
        ("sample_text", {"model": "shakespeare", "length": 10**9}, "The length is 1000000000, expected"),
        ("sample_text", {"model": "shakespeare", "length": 2000, "n": 50}, "too much at once"),
        ("sample_audio", {"model": "digits-speech", "seconds": 1e6}, "Seconds is 1000000.0, expected"),
        ("score_text", {"model": "names", "text": ""}, "nothing to score"),
        ("score_text", {"model": "names", "text": "a" * 5001}, "The text has 5,001 characters"),
    ],
)
def test_mistakes_are_told(client: Client, name: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(AppError, match=re.escape(told)):
        client.predict(**values, api_name=f"/{name}")


# -- the server


def test_only_this_machine_is_served_without_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        serve.check_host(host, None, False)
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.org"):
        with pytest.raises(ValueError, match="expected --auth NAME:PASSWORD with it, or --insecure"):
            serve.check_host(host, None, False)
        serve.check_host(host, [("a", "b")], False)
        serve.check_host(host, None, True)
    assert main(["app", "--host", "0.0.0.0"]) == 1
    assert main(["app", "--auth", "name"]) == 1
    assert main(["app", "--port", "70000"]) == 1
    assert main(["app", "gone"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == ["seqgen"] * 4


def test_a_port_that_is_taken_is_told(app: served.App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "--port", app.url.rpartition(":")[2]]) == 1
    assert "choose another one with --port" in capsys.readouterr().err


def test_the_server_is_quiet_and_closed(app: served.App) -> None:
    config = httpx.get(f"{app.url}/config").json()
    assert (config["analytics_enabled"], config["run_history"], config["show_error"]) == (False, False, False)
    answer = httpx.get(app.url)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("monitoring", "monitoring/summary", "docs", "openapi.json", "gradio_api/runs", "gradio_api/deep_link"):
        assert httpx.get(f"{app.url}/{path}").status_code in (404, 422), path
    for path in ("/etc/passwd", str(Path(__file__)), "../etc/passwd"):
        assert httpx.get(f"{app.url}/gradio_api/file={path}").status_code in (403, 404)
    assert httpx.get(f"{app.url}/gradio_api/proxy=http://127.0.0.1:1/").status_code == 404


def test_other_sites_and_other_names_are_turned_away(app: served.App) -> None:
    body = json.dumps({"data": ["names", "Maria", ""]})
    where = f"{app.url}/gradio_api/call/score_text"
    assert httpx.post(where, content=body, headers={**POST, "origin": app.url}).status_code == 200
    for origin in ("https://example.org", "null", "http://127.0.0.1:1", "http://localhost"):
        assert httpx.post(where, content=body, headers={**POST, "origin": origin}).status_code == 403
    assert httpx.get(app.url, headers={"host": "example.org"}).status_code == 403


def test_uploads_are_bounded(app: served.App) -> None:
    def upload(size: int) -> int:
        files = {"files": ("clip.wav", b"\0" * size)}
        return httpx.post(f"{app.url}/gradio_api/upload", files=files, timeout=60).status_code

    assert upload(100_000) == 200
    assert upload(LIMITS.upload + 100_000) == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        ('{"data": {}}', 400),
        ('{"data": ["names", "Maria"]}', 400),
        ('{"data": ["names", "Maria", "", 1]}', 400),
        ('{"data": ["names", NaN, ""]}', 400),
        ('{"data": ["names", 1e999, ""]}', 400),
        ('{"data": ["names", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, ""]}', 400),
        ('{"data": ["names", ' + "[" * 50 + "]" * 50 + ', ""]}', 400),
        ('{"data": ["names", "' + "a" * 2_000_000 + '", ""]}', 413),
        ('{"data": ["names", "Maria", ""]}', 200),
    ],
)
def test_bodies_are_checked(app: served.App, body: str, status: int) -> None:
    answer = httpx.post(f"{app.url}/gradio_api/call/score_text", content=body, headers=POST)
    assert answer.status_code == status
    assert status == 200 or answer.json()["detail"]


def test_depth_is_that_of_the_deepest() -> None:
    assert [_depth(value, 5) for value in (1, [], {"a": 1}, [[[1]]], {"a": [{"b": 1}, 2]})] == [0, 0, 1, 3, 3]
    assert _depth([[[[[[[[1]]]]]]]], 5) == 6


def test_without_ffmpeg_the_clip_comes_at_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "can_stream", lambda: False)
    digits = catalog.get("digits-speech").modality
    tab = SoundTab(digits, catalog.of(digits), LIMITS)
    outputs = list(tab.speak("digits-speech", 0.1, 1.0, 2, None, "3"))
    assert all(output[0] == gr.skip() for output in outputs)
    rate, samples = outputs[-2][1]
    assert (rate, samples.dtype) == (8000, np.int16)
    assert outputs[-1][3].ndim == 3


def test_a_password_is_needed_and_a_page_without_ffmpeg_mentions_it(tmp_path: Path) -> None:
    with served.app(tmp_path / "log.txt", arguments=["--auth", "anna:secret"], PATH=str(tmp_path)) as locked:
        call = {"data": ["names", "Maria", ""]}
        assert httpx.post(f"{locked.url}/gradio_api/call/score_text", json=call).status_code == 401
        assert "digits-speech" not in httpx.get(locked.url).text
        with pytest.raises(Exception, match=r"."):
            Client(locked.url, verbose=False, auth=("anna", "wrong"))
        inside = Client(locked.url, verbose=False, auth=("anna", "secret"))
        assert inside.predict("names", "Maria", api_name="/score_text")["symbols"] == 6
        assert sound.NO_FFMPEG in [one["props"].get("value") for one in inside.config["components"]]


def test_an_unlabelled_model_of_short_texts_has_no_known_training_data(tmp_path: Path) -> None:
    codec = Chars("abc", end=True)
    assert codec.size is not None
    Pipeline(RNN(Categorical(codec.size), hidden=3), codec).save_pretrained(tmp_path / "model")
    entry = Catalog.load([tmp_path]).get(tmp_path.name)
    assert entry.pipeline.training_texts is None
    assert (text_request.is_short(entry), entry.modality.name, sound_request.is_vocoder(entry)) == (True, "text", False)
    assert "SHA-256 of the weights" in entry.card
