"""Bad data sets, features and checkpoints through the command: a short error, nothing lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vmrtool.cli import app

VIDS = [f"V{k:02d}" for k in range(10)]
TINY = [
    word
    for setting in (
        "network.dim=8", "network.word_dim=4", "network.retrieval_dim=4", "training.epochs=1",
        "training.validation_share=0.3", "retrieval.ranking_queries=2",
        "network.query_encoder=words",
    )
    for word in ("--set", setting)
]  # fmt: skip


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def write_annotations(folder: Path) -> Path:
    """Charades-STA in little: seven videos to train on, three to test, of two queries each."""
    folder.mkdir(parents=True)
    for split, vids in (("train", VIDS[:7]), ("test", VIDS[7:])):
        lengths = "".join(f"{vid},20.0\n" for vid in vids)
        (folder / f"Charades_v1_{split}.csv").write_text("id,length\n" + lengths)
        lines = [f"{v} {k}.0 {k + 6}.0##a person opens door {k}.\n" for v in vids for k in (1, 9)]
        (folder / f"charades_sta_{split}.txt").write_text("".join(lines))
    return folder


def write_features(path: Path, change: Callable[[str, np.ndarray], np.ndarray | None]) -> Path:
    """16-d features of all videos as `change` leaves them; None leaves a video out."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for vid in VIDS:
            values = change(vid, rng.standard_normal((30, 16)).astype(np.float32))
            if values is not None:
                file[vid] = values
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with annotations and features that are as they should be."""
    monkeypatch.chdir(tmp_path)
    write_annotations(tmp_path / "ann")
    write_features(tmp_path / "full.h5", lambda vid, values: values)
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be copied."""
    folder = tmp_path_factory.mktemp("run")
    annotations = write_annotations(folder / "ann")
    features = write_features(folder / "full.h5", lambda vid, values: values)
    done = train(annotations, features, folder / "run")
    assert done.exit_code == 0, done.output
    return folder / "run"


def train(annotations: Path | str, features: Path | str, out: Path | str, *more: object) -> Result:
    named = ("--dataset", "charades", "--annotations", annotations)
    return invoke("train", *named, "--features", features, "--out", out, *TINY, *more)


def evaluate(features: Path | str, model: Path | str, *more: object) -> Result:
    named = ("--dataset", "charades", "--annotations", "ann")
    return invoke("eval", *named, "--features", features, "--model", model, *more)


def assert_refused(done: Result, code: int, *words: str) -> None:
    """An error of one to three lines that holds the words, nothing on stdout."""
    assert done.exit_code == code, done.output
    error = done.stderr[done.stderr.index("error: ") :]
    assert 2 <= len(error.strip().splitlines()) <= 3, error
    for word in words:
        assert word in error, error
    assert "unexpected" not in error and "Traceback" not in done.output
    assert done.stdout == ""


# Features --------------------------------------------------------------------------------------


def test_videos_without_features_are_left_out_and_counted(here: Path) -> None:
    some = write_features(here / "some.h5", lambda v, x: None if v in ("V01", "V08") else x)
    done = train("ann", some, "run")
    assert done.exit_code == 0, done.output
    told = "train, charades train: left out, without features: 1 video\n"
    assert done.stderr.count("left out") == done.stderr.count(told) == 1
    config = json.loads((here / "run" / "config.json").read_text())
    counted = [config[part]["videos_without_features"] for part in ("train", "validation")]
    assert counted == [1, 0]
    assert config["train"]["videos"] + config["validation"]["videos"] == 6
    scored = evaluate(some, "run", "--json")
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["pairs"] == 4
    assert "charades test: left out, without features: 1 video\n" in scored.stderr


def test_what_was_mended_is_told_once_and_of_validation_too(here: Path) -> None:
    listed = here / "ann" / "charades_sta_train.txt"
    listed.write_text(listed.read_text() + "V00 9.0 2.0##a person sits.\n")
    row = {"vid": "V09", "query": "q", "duration": 20, "relevant_windows": [[5, 99], [9, 9]]}
    (here / "held.jsonl").write_text(json.dumps(row) + "\n")
    # A grid: every run has the same data.
    done = train("ann", "full.h5", "run", "--seeds", "2", "--validation", "held.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("train, charades train: moments with start after end, swapped: 1") == 1
    for fix in ("moments that end past the video's length", "moments of no length, dropped"):
        (line,) = (line for line in done.stderr.splitlines() if fix in line)
        assert line.startswith("validation, ") and f"held: {fix}: 1" in line.replace(".jsonl", "")


def test_predictions_for_videos_without_features_are_left_out(here: Path, run: Path) -> None:
    some = write_features(here / "some.h5", lambda v, x: None if v == "V08" else x)
    lines = [
        {"qid": qid, "vid": VIDS[7 + qid // 2], "pred_relevant_windows": [[0, 9]]}
        for qid in range(6)
    ]
    (here / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scored = evaluate(some, run, "--predictions", "theirs.jsonl", "--json")
    assert scored.exit_code == 0, scored.output
    told = json.loads(scored.stdout)
    assert told["pairs"] == 4
    assert told["notes"] == ["theirs: left out, their videos have no features: 2 predictions"]
    (theirs,) = (row for row in told["rows"] if row["method"] == "theirs")
    # Of (1, 7) and (9, 15) of each video, (0, 9) overlaps the first by 6 of 9 seconds.
    assert theirs["R@1_IoU0.5"]["mean"] == 50


def test_predictions_for_some_of_the_queries_are_told(here: Path) -> None:
    line = {"qid": 0, "vid": "V07", "pred_relevant_windows": [[1, 7]]}
    (here / "few.jsonl").write_text(json.dumps(line) + "\n")
    words = ("eval", "--dataset", "charades", "--annotations", "ann", "--predictions", "few.jsonl")
    note = "few: answers 1 of 6 queries; the others count as misses"
    assert json.loads(invoke(*words, "--json").stdout)["notes"] == [note]
    assert f"- {note}\n" in invoke(*words, "--format", "markdown").stdout
    shown = " ".join(invoke(*words, "--format", "table").stdout.split())
    assert note in shown
    # Each kind of chance is told too, and what its spread is over.
    drawn = "mean and standard deviation over 10 draws"
    assert f"random: start uniform over the video, end uniform after it; {drawn}" in shown
    assert "whole-video: all of the video few: answers" in shown


def test_strict_refuses_them(here: Path, run: Path) -> None:
    some = write_features(here / "some.h5", lambda v, x: None if v in ("V01", "V08") else x)
    words = "1 of the 7 videos of charades train without features in", "some.h5: V01", "--strict"
    assert_refused(train("ann", some, "out", "--strict"), 3, *words)
    assert not (here / "out").exists()
    assert_refused(evaluate(some, run, "--strict"), 3, "1 of the 3 videos", "V08")


def not_finite(vid: str, values: np.ndarray) -> np.ndarray:
    if vid == "V03":
        values[7, 2] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v, x: None, ("none of the 7 videos", "V00")),
        (not_finite, ("'V03' hold values that are not finite", "again")),
        (
            lambda v, x: x[:, :8] if v == "V04" else x,
            ("'V04' are 8 wide, those of", "one backbone"),
        ),
        (lambda v, x: x * 1e6, ("'V00' reach", "float16", "divide")),
        (lambda v, x: x[:, 0], ("'V00' are float32 (30,)", "(snippets, dim)")),
    ],
)
def test_features_that_cannot_be_used(here: Path, change: Callable, words: tuple) -> None:
    features = write_features(here / "bad.h5", change)
    assert_refused(train("ann", features, "out"), 3, "bad.h5", *words)
    assert not (here / "out").exists()


def test_a_truncated_file(here: Path, run: Path) -> None:
    data = (here / "full.h5").read_bytes()
    (here / "cut.h5").write_bytes(data[: len(data) // 2])
    for done in (train("ann", "cut.h5", "out"), evaluate("cut.h5", run)):
        assert_refused(done, 3, "cut.h5: cannot be read as HDF5", "truncated", "again")
    assert not (here / "out").exists()


def test_features_of_another_width_than_the_models(here: Path, run: Path) -> None:
    wide = write_features(here / "wide.h5", lambda v, x: np.concatenate([x, x[:, :4]], axis=1))
    assert_refused(evaluate(wide, run), 3, "does not fit", "features 16 wide, not 20")
    row = {"vid": "V08", "query": "a door", "relevant_windows": [[1, 5]], "duration": 20}
    (here / "held.jsonl").write_text(json.dumps(row) + "\n")
    done = train(
        "ann", "full.h5", "out", "--validation", "held.jsonl", "--validation-features", wide
    )
    assert_refused(done, 3, "held.jsonl", "20 wide", "16 wide", "same backbone")
    assert not (here / "out").exists()


def test_no_features_there(here: Path) -> None:
    assert_refused(train("ann", "none.h5", "out"), 3, "no such features: none.h5", "catalog")
    assert_refused(train("ann", "ann", "out"), 3, "ann: no npy, npz, pt or h5 file")
    (here / "text.h5").write_text("words")
    assert_refused(train("ann", "text.h5", "out"), 3, "text.h5: neither a catalog nor an HDF5")


# Annotations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("charades_sta_train.txt", "V00 1 2##ok\nV00 1 2 door\n", ("line 2", "##sentence")),
        ("charades_sta_train.txt", "V00 1 two##door\n", ("line 1", "not two numbers", "##")),
        ("charades_sta_train.txt", "V77 1 2##door\n", ("line 1", "'V77'", "##")),
        ("charades_sta_train.txt", "\n \n", ("no query in it",)),
        ("charades_sta_train.txt", b"\xff\xfe\x00", ("not UTF-8",)),
        ("Charades_v1_train.csv", "name,length\nV00,3\n", ("no columns 'id' and 'length'",)),
        ("Charades_v1_train.csv", "id,length\nV00," + "9" * 200_000, ("field larger than",)),
        ("Charades_v1_train.csv", "id,length\nV00,long\n", ("line 2", "length is 'long'")),
    ],
)
def test_charades_files_of_the_wrong_format(
    here: Path, name: str, text: str | bytes, words: tuple[str, ...]
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (here / "ann" / name).write_bytes(data)
    assert_refused(train("ann", "full.h5", "out"), 3, f"ann/{name}", *words)
    assert not (here / "out").exists()


def test_a_blank_line_is_no_error(here: Path) -> None:
    path = here / "ann" / "charades_sta_test.txt"
    path.write_text("\n" + path.read_text() + "\n")
    done = invoke("eval", "--dataset", "charades", "--annotations", "ann", "--json")
    assert json.loads(done.stdout)["pairs"] == 6


GOOD = {"duration": 9, "timestamps": [[1, 2]], "sentences": ["x"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ("not JSON", "line 1 column 2")),
        ("[]", ("not a JSON object", "timestamps")),
        ("{}", ("no query in it",)),
        ({"v_b": {**GOOD, "duration": 0}}, ("'v_b' is not as expected: duration is 0", "expected")),
        (
            {"v_b": {**GOOD, "timestamps": None}},
            ("'v_b' is not as expected: timestamps is missing", "expected"),
        ),
        (
            {"v_b": {**GOOD, "sentences": []}},
            ("'v_b' is not as expected: 1 timestamps for 0 sentences", "expected"),
        ),
        (
            {"v_b": {**GOOD, "timestamps": [[1]]}},
            ("'v_b' is not as expected: a timestamp is [1]", "expected"),
        ),
        (
            {"v_b": {**GOOD, "sentences": [" "]}},
            ("'v_b' is not as expected: a sentence is ' '", "expected"),
        ),
    ],
)
def test_activitynet_files_of_the_wrong_format(
    here: Path, content: str | dict, words: tuple[str, ...]
) -> None:
    text = content if isinstance(content, str) else json.dumps({"v_good": GOOD, **content})
    (here / "ann" / "val_2.json").write_text(text)
    done = invoke("eval", "--dataset", "activitynet", "--annotations", "ann")
    assert_refused(done, 3, "ann/val_2.json", *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("V08,1,5", ("line 2: not JSON",)),
        ('{"vid": "V08", "query": "x", "relevant_windows": [1, 5], "duration": 9}', ("line 2",)),
        ('{"vid": "V08", "query": "x", "relevant_windows": [[1, 5]]}', ("line 2", "'duration'")),
        ('{"vid": 8, "query": "x", "relevant_windows": [[1, 5]], "duration": 9}', ("'vid'",)),
    ],
)
def test_json_lines_of_the_wrong_format(here: Path, line: str, words: tuple[str, ...]) -> None:
    row = {"vid": "V07", "query": "x", "relevant_windows": [[1, 5]], "duration": 9}
    (here / "mine.jsonl").write_text(json.dumps(row) + "\n" + line + "\n")
    done = invoke(
        "train", "--dataset", "mine.jsonl", "--features", "full.h5", "--out", "out", *TINY
    )
    assert_refused(done, 3, "mine.jsonl, ", "a line looks like", *words)
    assert not (here / "out").exists()


def test_no_annotations_there(here: Path) -> None:
    assert_refused(
        train("none", "full.h5", "out"), 3, "none/Charades_v1_train.csv", "--annotations"
    )
    assert_refused(train("full.h5", "full.h5", "out"), 3, "Charades_v1_train.csv", "--annotations")
    done = invoke("train", "--dataset", "charade", "--features", "full.h5", "--out", "out", *TINY)
    assert_refused(done, 3, "no such data set file: charade", "charades, activitynet or a JSONL")
    done = invoke("eval", "--dataset", "activitynet", "--annotations", "ann", "--split", "val_1")
    assert_refused(done, 3, "ann/val_1.json", "--annotations")


def test_too_little_to_set_aside(here: Path) -> None:
    done = train("ann", "full.h5", "out", "--set", "training.validation_share=0.01")
    assert_refused(done, 3, "7 videos cannot be split", "validation_share=0")
    done = train("ann", "full.h5", "out", "--validation", "charades")
    assert_refused(done, 2, "charades has no split for validation", "set aside")
    assert not (here / "out").exists()


# Word vectors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("door 1 2 3\n", ("line 1: word vector of 3 numbers, expected 4", "set word_dim")),
        ("door 1 2 3 4\na 1 2 3\n", ("line 2", "expected 4")),
        (None, ("glove.txt",)),
    ],
)
def test_word_vectors_that_do_not_fit(here: Path, text: str | None, words: tuple[str, ...]) -> None:
    if text is not None:
        (here / "glove.txt").write_text(text)
    chosen = ("--set", "network.query_encoder=glove", "--glove", "glove.txt")
    assert_refused(train("ann", "full.h5", "out", *chosen), 3, *words)
    assert not (here / "out").exists()


def test_word_vectors_asked_for_and_not_given(here: Path) -> None:
    done = train("ann", "full.h5", "out", "--set", "network.query_encoder=glove")
    assert_refused(done, 3, "no word vectors", "--glove FILE")
    assert not (here / "out").exists()


# Checkpoints -----------------------------------------------------------------------------------


def test_what_is_no_checkpoint(here: Path, run: Path) -> None:
    (here / "text.safetensors").write_text("words " * 99)
    torch.save({"a": torch.zeros(2)}, here / "pickle.pt")
    save_file({"a": torch.zeros(2)}, here / "foreign.safetensors")
    whole = (run / "model.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    for name, why in (
        ("text.safetensors", "is not a vmrtool model file"),
        ("pickle.pt", "pickles are not read"),
        ("foreign.safetensors", "not of a vmrtool grounding model"),
        ("cut.safetensors", "is not a vmrtool model file"),
        ("none", "no such model"),
        (".", "model"),
    ):
        assert_refused(evaluate("full.h5", name), 3, name, why)


def test_a_checkpoint_whose_weights_are_another_variants(here: Path, run: Path) -> None:
    from safetensors import safe_open

    with safe_open(run / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    document = json.loads(metadata["vmrtool"])
    document["config"]["variant"] = "mha"
    weights = load_file(run / "model.safetensors")
    save_file(weights, here / "mixed.safetensors", metadata={"vmrtool": json.dumps(document)})
    assert_refused(evaluate("full.h5", "mixed.safetensors"), 3, "(variant mha)", "segment_mlp")


def test_a_model_of_another_variant_than_asked_for(here: Path, run: Path) -> None:
    assert evaluate("full.h5", run, "--variant", "ci-mha").exit_code == 0
    assert_refused(evaluate("full.h5", run, "--variant", "mha"), 3, "variant ci-mha, not mha")
    done = evaluate("full.h5", run, "--variant", "none")
    assert done.exit_code == 2 and "it can be ci-mha" in done.stderr


def test_a_run_is_never_overwritten_nor_continued_as_another(here: Path, run: Path) -> None:
    shutil.copytree(run, here / "mine")
    before = contents(here / "mine")
    again = train("ann", "full.h5", "mine")
    assert_refused(again, 2, "mine already holds a run", "--resume")
    other = train("ann", "full.h5", "mine", "--resume", "--variant", "mha")
    assert_refused(other, 2, "network.variant ci-mha, now mha", "another --out")
    some = write_features(here / "some.h5", lambda v, x: None if v == "V01" else x)
    assert_refused(train("ann", some, "mine", "--resume"), 2, "train.queries", "another --out")
    assert contents(here / "mine") == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below the folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["state.pt", "config.json"])
def test_a_damaged_run(here: Path, run: Path, name: str) -> None:
    shutil.copytree(run, here / "mine")
    (here / "mine" / "result.json").unlink()  # it has not come to its end
    data = (here / "mine" / name).read_bytes()
    (here / "mine" / name).write_bytes(data[: len(data) // 2])
    done = train("ann", "full.h5", "mine", "--resume")
    assert_refused(done, 3, f"mine/{name}", "another --out")
    assert (here / "mine" / "model.safetensors").read_bytes() == (
        run / "model.safetensors"
    ).read_bytes()
