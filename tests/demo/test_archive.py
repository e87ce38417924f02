import json

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vmrtool.cli.demo import demo_app
from vmrtool.demo.archive import render_archive
from vmrtool.demo.encode import write_video
from vmrtool.demo.render import render_frame
from vmrtool.demo.scenes import plan_video
from vmrtool.errors import UsageError

SEED = 563  # its videos 0, 1 and 7 are short


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    done = []
    directory = tmp_path_factory.mktemp("archive") / "new" / "demo"
    summary = render_archive(directory, videos=2, seed=SEED, jobs=1, on_video=done.append)
    assert tuple(done) == summary.videos
    return summary


def rows_of(directory):
    return [json.loads(line) for line in (directory / "queries.jsonl").read_text().splitlines()]


def test_queries_file(archive):
    rows = rows_of(archive.directory)
    assert [row["qid"] for row in rows] == list(range(len(rows)))
    assert len(rows) == archive.queries
    assert sum(" after " in r["event"] or " before " in r["event"] for r in rows) == (
        archive.temporal_queries
    )
    durations = {video.name: video.duration_s for video in archive.videos}
    for row in rows:
        assert list(row) == [
            "qid", "vid", "video", "query", "event", "relevant_windows", "duration",
        ]  # fmt: skip
        assert row["video"] == f"{row['vid']}.mp4"
        assert (archive.directory / row["video"]).is_file()
        assert row["duration"] == pytest.approx(durations[row["video"]], abs=6e-4)
        for start, end in row["relevant_windows"]:
            assert 0 < start < end < row["duration"]


def test_nothing_else_is_left_behind(archive):
    names = {path.name for path in archive.directory.iterdir()}
    assert names == {"queries.jsonl", *(video.name for video in archive.videos)}


def test_the_same_bytes_whatever_the_jobs(archive, tmp_path):
    again = render_archive(tmp_path, videos=2, seed=SEED, jobs=2)
    assert again.videos == archive.videos
    for path in archive.directory.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("index", [0, 7])
def test_files_hold_the_plan(index, tmp_path):
    scene = plan_video(SEED, index)
    file = write_video(scene, tmp_path)
    with av.open(str(tmp_path / file.name)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (320, 240)
        frames = list(container.decode(stream))
        origin = (stream.start_time or 0) * stream.time_base
        length = float(container.duration) / av.time_base
    times = np.array([float(frame.pts * frame.time_base - origin) for frame in frames])
    assert file.frames == len(frames)
    assert np.allclose(times, scene.frame_times, atol=1e-6)
    assert file.duration_s == pytest.approx(scene.duration_s, abs=1e-6)
    assert length == pytest.approx(scene.duration_s, abs=2e-3)
    for number in (0, len(frames) // 2, len(frames) - 1):
        pixels = frames[number].to_ndarray(format="rgb24").astype(int)
        expected = render_frame(scene, scene.frame_times[number])
        assert np.abs(pixels - expected).mean() < 6


def test_a_broken_run_leaves_no_video(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("vmrtool.demo.encode.render_times", fail)
    with pytest.raises(RuntimeError):
        write_video(plan_video(SEED, 0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for bad in (
        {"directory": tmp_path, "videos": 0, "seed": 0},
        {"directory": tmp_path, "videos": 1, "seed": -1},
        {"directory": tmp_path, "videos": 1, "seed": 0, "jobs": 0},
        {"directory": file, "videos": 1, "seed": 0},
    ):
        with pytest.raises(UsageError):
            render_archive(**bad)
    (tmp_path / "queries.jsonl").write_text('{"vid": "mine"}\n')
    with pytest.raises(UsageError, match="something else"):
        render_archive(tmp_path, videos=1, seed=0)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("vmrtool.demo.archive.write_video", pretend)
    arguments = ["render", str(tmp_path), "--videos", "3", "--seed", "4", "--jobs", "1", "--json"]
    result = CliRunner().invoke(demo_app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["schema"] == "vmrtool.demo/1"
    assert told["videos"] == 3
    assert told["queries"] == len(rows_of(tmp_path))


def pretend(scene, directory):
    from vmrtool.demo.encode import VideoFile

    return VideoFile(scene.vid, f"{scene.vid}.mp4", len(scene.pts), scene.duration_s)
