"""Case studies: which queries are drawn, what is written, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from html_pages import answers_in, parse
from synthetic import write_archive
from typer.testing import CliRunner
from video_clips import write_video

from vmrtool.cli import app
from vmrtool.evaluation.cases import choose_cases

TINY = [
    word
    for setting in (
        "network.dim=8", "network.word_dim=4", "network.retrieval_dim=4", "training.epochs=1",
        "training.validation_share=0", "retrieval.ranking_queries=2",
    )
    for word in ("--set", setting)
]  # fmt: skip


def invoke(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("archive")
    return write_archive(folder, videos=4, seed=5, shortest=16, longest=24)


@pytest.fixture(scope="module")
def run(archive: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    done = invoke("train", "--dataset", archive[0], "--features", archive[1], "--out", out, *TINY)
    assert done.exit_code == 0, done.output
    return out


def test_cases_go_evenly_from_the_best_to_the_worst() -> None:
    ious = np.array([0.0, 0.9, 0.5, 0.5, 0.1, 0.0, 0.7])
    assert choose_cases(ious, 3) == [1, 3, 5]
    assert choose_cases(ious, 7) == choose_cases(ious, 99) == [1, 6, 2, 3, 4, 0, 5]
    assert choose_cases(ious, 1) == [3]
    assert choose_cases(ious, 2) == [1, 5]
    # Half of the answers are wrong, so are half of the cases.
    half = np.array([0.0, 1.0] * 50)
    assert sum(half[choose_cases(half, 10)]) == 5


def test_a_models_cases(archive: tuple[Path, Path], run: Path, tmp_path: Path) -> None:
    def draw(out: Path) -> dict:
        done = invoke(
            "eval", "--dataset", archive[0], "--features", archive[1], "--model", run,
            "--cases", 5, "--out", out, "--json", "--save-predictions", tmp_path / "p.jsonl",
            "--per-query", tmp_path / "each.jsonl",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        return json.loads((out / "cases.json").read_text())

    index = draw(tmp_path / "new" / "cases")
    assert index["schema"] == "vmrtool.cases/1"
    assert (index["truth"], index["chosen_by"]) == ("raw", "run")
    pictures = [case["picture"] for case in index["cases"]]
    assert sorted([*pictures, "cases.json", "cases.html"]) == sorted(
        path.name for path in (tmp_path / "new" / "cases").iterdir()
    )
    truth = {row["qid"]: row for row in map(json.loads, archive[0].read_text().splitlines())}
    said = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    predicted = {row["qid"]: row["pred_relevant_windows"] for row in said}
    lines = map(json.loads, (tmp_path / "each.jsonl").read_text().splitlines())
    ious = {row["qid"]: row["mIoU"] / 100 for row in lines if row["method"] == "run"}
    for case in index["cases"]:
        row = truth[case["qid"]]
        assert case["query"] == row["query"]
        assert case["truth"] == row["relevant_windows"]
        (answer,) = case["answers"]
        assert answer["moments"] == predicted[case["qid"]]
        assert answer["IoU"] == pytest.approx(ious[case["qid"]])
        curves = case["curves"]
        n = round(row["duration"] * 1.5)
        assert [len(curves[name]) for name in ("cells", "start", "end", "inside")] == [n] * 4
        assert sum(curves["start"]) == pytest.approx(1, abs=1e-4)
        assert case["video"] is None  # the made-up archive has no files
    drawn = [case["answers"][0]["IoU"] for case in index["cases"]]
    assert drawn == sorted(drawn, reverse=True)
    assert (drawn[0], drawn[-1]) == (max(ious.values()), min(ious.values()))
    page = parse((tmp_path / "new" / "cases" / "cases.html").read_text("utf-8"))
    assert answers_in(page) == [index]
    cards = page.all("article", class_="card")
    assert len(cards) == len(index["cases"])
    for card, case in zip(cards, index["cases"], strict=True):
        assert case["vid"] in card.all("h3")[0].text and "The video is not here." in card.text
        assert f"{case['answers'][0]['IoU']:.2f}" in card.all("dl")[0].text
        line = card.all("svg", class_="line")[0]
        assert len(line.all("rect", class_="truth")) == len(case["truth"])
        assert len(line.all("rect", class_="found")) == len(case["answers"][0]["moments"])
        assert len(line.all("path", class_="curve")) == 2
    # The same again, to the byte, in the same place as well.
    assert draw(tmp_path / "new" / "cases") == index == draw(tmp_path / "second")
    for name in pictures:
        first, second = (tmp_path / "new" / "cases" / name, tmp_path / "second" / name)
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("how", ["--json", "--shuffle-video", "--blind"])
def test_curves_are_of_what_the_model_was_shown(
    how: str, archive: tuple[Path, Path], run: Path, tmp_path: Path
) -> None:
    rows = list(map(json.loads, archive[0].read_text().splitlines()))
    for row in rows:
        del row["event"]  # a query that names none is answered by P_start P_end alone
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke(
        "eval", "--dataset", queries, "--features", archive[1], "--model", run, how,
        "--cases", 3, "--out", tmp_path / "cases",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for case in json.loads((tmp_path / "cases" / "cases.json").read_text())["cases"]:
        curves = case["curves"]
        starts, ends = zip(*curves["cells"], strict=True)
        for start, end, score in case["answers"][0]["moments"]:
            product = curves["start"][starts.index(start)] * curves["end"][ends.index(end)]
            assert product == pytest.approx(score, rel=1e-4)


def test_key_frames_come_from_the_videos_at_hand(
    archive: tuple[Path, Path], run: Path, tmp_path: Path
) -> None:
    rows = list(map(json.loads, archive[0].read_text().splitlines()))
    videos = tmp_path / "videos" / "deep"
    videos.mkdir(parents=True)
    vid = rows[0]["vid"]
    duration = int(rows[0]["duration"] * 1000)
    write_video(videos / f"{vid}.mp4", range(0, duration, 100), last_ms=100)
    common = ("eval", "--dataset", archive[0], "--features", archive[1], "--model", run)
    out = tmp_path / "out"
    done = invoke(*common, "--cases", 2, "--out", out, "--videos", tmp_path / "videos")
    assert done.exit_code == 0, done.output
    cases = json.loads((out / "cases.json").read_text())["cases"]
    assert [case["vid"] for case in cases] == [vid, vid]
    assert {case["video"] for case in cases} == {str(videos / f"{vid}.mp4")}
    page = parse((out / "cases.html").read_text("utf-8"))
    assert len(page.all("video")) == 2 and len(page.all("img")) > 2
    # A damaged one is told of, and everything else is done.
    (videos / f"{vid}.mp4").write_text("no video")
    done = invoke(*common, "--cases", 2, "--out", out, "--videos", tmp_path / "videos", "--json")
    assert done.exit_code == 1
    assert f"no key frames: {videos / vid}.mp4" in done.stderr
    assert json.loads(done.stdout)["rows"]
    assert json.loads((out / "cases.json").read_text())["cases"][0]["video"] is None


def test_where_the_data_set_says_the_video_is(
    archive: tuple[Path, Path], run: Path, tmp_path: Path
) -> None:
    queries, catalog = write_archive(tmp_path, videos=1, seed=6, shortest=16, longest=24)
    row = json.loads(queries.read_text().splitlines()[0])
    video = write_video(tmp_path / row["video"], range(0, 12000, 100), last_ms=100)
    for features in (["--features", catalog, "--model", run], []):
        done = invoke(
            "eval", "--dataset", queries, *features, "--predictions", predictions(tmp_path, row),
            "--cases", 1, "--out", tmp_path / "out",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        (case,) = json.loads((tmp_path / "out" / "cases.json").read_text())["cases"]
        assert case["video"] == str(video)
        assert (case["curves"] is None) == (features == [])
        assert case["answers"][-1]["method"] == "theirs"
        # Methods are told apart on the page as well.
        (card,) = parse((tmp_path / "out" / "cases.html").read_text()).all("article")
        own = [f"m{place}" for place in range(len(case["answers"]))]
        for kind, answer in zip(own, case["answers"], strict=True):
            (key,) = card.all("span", class_=kind)
            assert key.text == answer["method"]
            line = card.all("svg", class_="line")[0]
            assert len(line.all("rect", class_=kind)) == len(answer["moments"])


def predictions(folder: Path, row: dict) -> Path:
    line = {"qid": row["qid"], "pred_relevant_windows": [[1, 2, 0.5], [3, 4, 0.1]]}
    (folder / "theirs.jsonl").write_text(json.dumps(line) + "\n")
    return folder / "theirs.jsonl"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--cases", "3"], "go together"),
        (["--out", "o"], "go together"),
        (["--cases", "3", "--out", "o"], "give --model or --predictions"),
        (["--cases", "-1", "--out", "o"], "--cases"),
        (["--model", "{run}", "--cases", "3", "--out", "{q}"], "not a folder"),
        (["--model", "{run}", "--cases", "3", "--out", "o", "--videos", "none"], "no such folder"),
        (["--model", "{run}", "--videos", "."], "key frames of --cases"),
        (
            ["--model", "{run}", "--cases", "3", "--out", "o", "--videos", "."],
            "none of the data set's videos is there",
        ),
    ],
)
def test_wrong_usage_writes_nothing(
    words: list[str], why: str, archive: tuple[Path, Path], run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    queries, catalog = archive
    before = queries.read_bytes()
    words = [word.format(run=run, q=queries) for word in words]
    done = invoke("eval", "--dataset", queries, "--features", catalog, *words)
    assert done.exit_code == 2, done.output
    assert why in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "o").exists()
    assert queries.read_bytes() == before
