"""`vmrtool search --clips` and `--thumbnails`: what is in the folder, and where a file fails."""

import base64
import json
import os
from pathlib import Path

import av
import pytest
from click.testing import Result
from json_schemas import assert_valid
from search_catalog import random_videos, write_catalog, write_model
from typer.testing import CliRunner
from video_clips import level, write_video

from vmrtool.cli import app
from vmrtool.media.clips import clip_suffix
from vmrtool.media.probe import probe
from vmrtool.report.moment_files import moment_name
from vmrtool.report.thumbnails import ThumbnailFolder
from vmrtool.search.result import Moment, SearchResult

QUERY = "a person opens the door"
ODD = "../a:b\n<c>*?.mp4".replace("/", "\N{FRACTION SLASH}")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of three videos: one of an odd name, one gone, one no video now."""
    folder = tmp_path_factory.mktemp("archive")
    run = write_model(folder / "run")
    made = list(random_videos(3).values())
    videos = dict(zip((ODD, "gone.mp4", "words.mp4"), made, strict=True))
    write_catalog(folder / "vmrtool.db", videos, model=str(run))
    seconds = float(videos[ODD][1][-1, 1])
    write_video(folder / "clip.mp4", range(0, int(seconds * 1000), 250)).rename(folder / ODD)
    (folder / "words.mp4").write_text("words")
    return folder


def search(archive: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", "--catalog", str(archive / "vmrtool.db"), *arguments])


@pytest.mark.parametrize("mode", ["copy", "reencode"])
def test_every_moment_has_a_clip_that_says_what_it_is(
    archive: Path, tmp_path: Path, mode: str
) -> None:
    more = ["--reencode"] if mode == "reencode" else []
    done = search(
        archive,
        QUERY,
        "--video",
        ODD[:4] + "*",
        "--clips",
        str(tmp_path / "out"),
        "--pad",
        "0.5",
        *more,
    )
    assert done.exit_code == 0, done.stderr
    moments = json.loads(done.stdout)["moments"]
    clips = sorted((tmp_path / "out").glob("*.mp4"))
    assert len(clips) == len(moments) == len(list((tmp_path / "out").iterdir())) // 2 > 0
    assert f"{len(clips)} clips -> {tmp_path / 'out'}" in done.stderr
    for clip, moment in zip(clips, moments, strict=True):
        told = assert_valid(json.loads(Path(f"{clip}.json").read_text("utf-8")))
        assert {name: told[name] for name in moment} == moment
        assert (told["clip"], told["query"], told["mode"]) == (clip.name, QUERY, mode)
        begin = max(0.0, moment["start"] - 0.5)
        if mode == "reencode":
            assert told["clip_start"] == begin
        assert told["clip_start"] <= begin + 1e-3 and told["clip_end"] > moment["end"] - 0.26
        length = told["clip_end"] - told["clip_start"]
        assert probe(clip).duration_s == pytest.approx(length, abs=0.3)


def test_a_file_that_fails_is_listed_and_the_others_are_cut(archive: Path, tmp_path: Path) -> None:
    done = search(archive, QUERY, "--per-video", "1", "--clips", str(tmp_path / "out"))
    assert done.exit_code == 1 and len(json.loads(done.stdout)["moments"]) == 3
    assert "1 clip -> " in done.stderr and done.stderr.count("failed ") == 2
    assert "gone.mp4: no such file" in done.stderr and "words.mp4: not a video" in done.stderr
    (clip,) = (tmp_path / "out").glob("*.mp4")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [clip.name, clip.name + ".json"]


def test_clips_of_many_queries_are_told_apart(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("the door\nthe door\n")
    out = tmp_path / "out"
    one = ("--video", ODD[:4] + "*", "--top", "1")
    search(archive, "--queries", str(tmp_path / "queries.txt"), "--clips", str(out), *one)
    first, second = sorted(path.name for path in out.glob("*.mp4"))
    assert first.startswith("q001-01-") and second == first.replace("q001", "q002")


def test_every_moment_has_a_picture_of_its_middle(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    done = search(archive, QUERY, "--video", ODD[:4] + "*", "--thumbnails", str(out))
    assert done.exit_code == 0, done.stderr
    moments = json.loads(done.stdout)["moments"]
    pictures = sorted(out.iterdir())
    assert f"{len(pictures)} thumbnails -> {out}" in done.stderr
    assert [path.suffix for path in pictures] == [".jpg"] * len(moments)
    for path, moment in zip(pictures, moments, strict=True):
        with av.open(path) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert picture.shape == (32, 32, 3)  # the video's own size: nothing is enlarged
        frame = int((moment["start"] + moment["end"]) / 2 / 0.25 + 1e-3)
        assert picture.mean() == pytest.approx(level(frame), abs=3)


def test_pictures_and_clips_that_fail_for_one_reason_say_it_once(
    archive: Path, tmp_path: Path
) -> None:
    words = [
        "--per-video",
        "1",
        "--thumbnails",
        str(tmp_path / "t"),
        "--clips",
        str(tmp_path / "c"),
    ]
    done = search(archive, QUERY, *words, "--quiet")
    assert done.exit_code == 1 and len(json.loads(done.stdout)["moments"]) == 3
    assert done.stderr.count("gone.mp4") == 1 == done.stderr.count("words.mp4")
    (picture,), (clip,) = ((tmp_path / "t").iterdir(), (tmp_path / "c").glob("*.mp4"))
    assert picture.stem == clip.stem


def test_a_video_that_became_shorter_has_no_picture(archive: Path, tmp_path: Path) -> None:
    folder = ThumbnailFolder(tmp_path / "out")
    late = Moment(1, str(archive / ODD), 900.0, 901.0, 0.5, 0.5, 0.5)
    folder.add(SearchResult("q", "m", "a.db", 1, 1, 1, 1.0, (late,)))
    [(path, error)] = folder.failed
    assert path == archive / ODD and "no pictures from 900.00 to 901.00 s" in str(error)
    assert folder.written == 0 and not (tmp_path / "out").exists()


def test_names_are_safe_whatever_the_video_is_called() -> None:
    def named(video: str, start: float = 63.04, b64: str | None = None) -> str:
        moment = Moment(3, video, start, 70, 0.5, 0.5, 0.5, b64)
        return moment_name(moment) + clip_suffix(moment.path, reencode=False)

    assert named("/archive/a b.mp4") == "03-a_b-0h01m03.0s.mp4"
    assert named("/archive/.. /x\n:*?.MOV", 3725.96) == "03-x_-1h02m05.9s.mov"
    assert named("/archive/film.avi") == "03-film-0h01m03.0s.mkv"
    assert len(named(f"/archive/{'ü' * 120}.mp4").encode()) < 140
    coded = base64.b64encode(os.fsencode("/a/") + b"\xff.mp4").decode()
    assert named("/a/\ufffd.mp4", b64=coded) == "03-_-0h01m03.0s.mp4"


def test_options_that_do_not_go_together(archive: Path, tmp_path: Path) -> None:
    for wrong in (["--pad", "1"], ["--reencode"], ["--clips", str(tmp_path / "f")]):
        (tmp_path / "f").write_text("a file")
        done = search(archive, QUERY, *wrong)
        assert done.exit_code == 2 and done.stdout == "" and "--clips" in done.stderr
    done = search(archive, QUERY, "--thumbnails", str(tmp_path / "f"))
    assert done.exit_code == 2 and done.stdout == "" and "a file, not a folder" in done.stderr
