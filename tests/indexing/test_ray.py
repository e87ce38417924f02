"""Indexing on Ray: two workers on this machine make the catalog that one process makes."""

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from indexing_fakes import FakeExtractor, write_video
from moto_server import WHY, s3_served
from tiny_zoo import write_zoo
from typer.testing import CliRunner

from vmrtool.assets import models
from vmrtool.catalog import Catalog
from vmrtool.cli import app
from vmrtool.cli import index as command
from vmrtool.errors import MediaError, MissingError, ModelError, UsageError
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.ray_extractor import RayExtractor
from vmrtool.indexing.report import IndexReport
from vmrtool.indexing.source import ExtractorSource

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vmrtool[ray]'")

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass
class Accidents:
    """What happens to a video on its way, by its name; `folder` remembers what has happened."""

    folder: Path

    def __call__(self, path: Path) -> None:
        told = path.name.partition(".")[0]
        with (self.folder / "asked").open("a") as asked:
            asked.write(f"{os.getpid()} {path.name}\n")
        once = self.folder / path.name
        if told == "kill" and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "always":
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "raise":
            raise RuntimeError("no luck")
        if told == "refuse":
            raise MediaError(f"{path}: it broke", stage="decode", remedy="Mend it.")
        if told == "stop":
            raise ModelError("weights gone bad", remedy="Check them.")
        time.sleep(0.02)


@dataclass
class Movable(FakeExtractor):
    def on(self, device: torch.device) -> "Movable":
        return self


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of moto's S3; None where that is not installed. Workers must know of it."""
    if not all(map(find_spec, ("s3fs", "moto", "flask"))):
        yield None
        return
    with s3_served() as client:
        yield client


@pytest.fixture(scope="module")
def cluster(s3: Any) -> Iterator[None]:
    # Workers import what stands in for the extractor from here.
    paths = (REPOSITORY, REPOSITORY / "tests", Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one to the home
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 << 20,
            log_to_driver=False,
            logging_level="error",
        )
        yield
        ray.shutdown()


@pytest.fixture
def one_thread_each() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Archive:
    """A folder of small videos, and catalogs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "log").mkdir()

    def add(self, *names: str) -> None:
        for name in names:
            write_video(self.folder / "videos" / name, sum(name.encode()))

    def run(self, name: str, *, by_ray: bool, root: str | None = None) -> IndexReport:
        made = Movable(before=Accidents(self.folder / "log"))
        source = ExtractorSource("fake", "ab" * 32, made.settings, made)
        if by_ray:
            source = replace(source, extractor=RayExtractor(made), elsewhere=True)
        return index([root or self.folder / "videos"], self.folder / name, lambda: source)

    def asked(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "log" / "asked").read_text().splitlines()]


def everything(path: Path) -> list[object]:
    """All that a catalog holds of videos, features and failures."""
    with Catalog.open(path) as catalog:
        assert catalog.extractor is not None
        rows = [
            (row.path, row.size, row.content_hash, row.state, row.facts) for row in catalog.videos()
        ]
        stored = [
            [array.tobytes() for array in vars(found).values()]
            for row in catalog.videos(state="indexed")
            if (found := catalog.features(row.content_hash or "", catalog.extractor.id))
        ]
        failed = [(row.path, row.stage, row.error, row.remedy) for row in catalog.failures()]
        return [rows, stored, failed]


@pytest.fixture
def archive(tmp_path: Path, cluster: None, one_thread_each: None) -> Archive:
    return Archive(tmp_path)


def test_two_workers_make_the_catalog_of_one_process(archive: Archive) -> None:
    archive.add(*(f"{number}.mp4" for number in range(6)), "refuse.mp4")
    (archive.folder / "videos" / "text.mp4").write_text("no video")
    by_ray = archive.run("ray.db", by_ray=True)
    assert len({process for process, _ in archive.asked()}) == 2
    alone = archive.run("alone.db", by_ray=False)
    assert everything(archive.folder / "ray.db") == everything(archive.folder / "alone.db")
    assert (by_ray.indexed, len(by_ray.failed)) == (alone.indexed, len(alone.failed)) == (6, 2)
    assert by_ray.seconds_of_video == pytest.approx(alone.seconds_of_video)


def test_killed_workers_and_tasks_that_raise_lose_and_double_nothing(archive: Archive) -> None:
    archive.add(*(f"{n}.mp4" for n in range(4)), "kill.mp4", "raise.mp4", "always.mp4")
    report = archive.run("ray.db", by_ray=True)
    assert (report.indexed, report.unchanged) == (5, 0)
    failed = {failure.path.name: failure.error for failure in report.failed}
    assert failed == {
        "raise.mp4": "RuntimeError: no luck",
        "always.mp4": "3 workers were lost while they were at it",
    }
    names = [name for _, name in archive.asked()]
    assert (names.count("kill.mp4"), names.count("always.mp4")) == (2, 3)
    with Catalog.open(archive.folder / "ray.db") as catalog:
        assert [(r.path.name, r.state) for r in catalog.videos() if r.state != "failed"] == [
            (name, "indexed") for name in ("0.mp4", "1.mp4", "2.mp4", "3.mp4", "kill.mp4")
        ]


def test_objects_of_a_store_are_copied_by_the_workers(archive: Archive, s3: Any) -> None:
    if s3 is None:
        pytest.skip(WHY.format("s3fs or moto"))
    archive.add("0.mp4", "1.mp4", "kill.mp4", "refuse.mp4")
    s3.create_bucket(Bucket="on-ray")
    for file in (archive.folder / "videos").iterdir():
        s3.put_object(Bucket="on-ray", Key=f"v/{file.name}", Body=file.read_bytes())
    root = "s3://on-ray/v"
    by_ray = archive.run("ray.db", by_ray=True, root=root)
    assert (by_ray.indexed, len(by_ray.failed)) == (3, 1)
    assert str(os.getpid()) not in {process for process, _ in archive.asked()}
    alone = archive.run("alone.db", by_ray=False, root=root)
    assert (alone.indexed, len(alone.failed)) == (3, 1)
    assert everything(archive.folder / "ray.db") == everything(archive.folder / "alone.db")
    with Catalog.open(archive.folder / "ray.db") as catalog:
        (failure,) = catalog.failures()
        assert (str(failure.path), failure.error) == (f"{root}/refuse.mp4", "it broke")
    again = archive.run("ray.db", by_ray=True, root=root)
    assert (again.indexed, again.unchanged) == (0, 3)


def test_an_error_that_ends_a_run_ends_this_one(archive: Archive) -> None:
    archive.add("stop.mp4")
    with pytest.raises(ModelError, match="weights gone bad") as caught:
        archive.run("ray.db", by_ray=True)
    assert caught.value.remedy == "Check them."


def test_no_cluster_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_: object) -> None:
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(ray, "init", refuse)
    extractor = RayExtractor(Movable(), "127.0.0.1:1")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:1.*nobody answers"):
        list(extractor.extract_many([], workers=1))


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingError, match="not installed") as caught:
        RayExtractor(Movable())
    assert "vmrtool[ray]" in str(caught.value.remedy)


def test_the_real_extractor_through_the_command(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "zoo_folder", lambda: write_zoo(tmp_path / "zoo", trained=True))
    for number in range(3):
        write_video(archive.folder / "videos" / f"{number}.mp4", number, frames=40)
    common = ["index", "--model", "blocks", "--device", "cpu"]
    folder = str(archive.folder / "videos")
    for name, words in (("ray.db", ["--ray", folder]), ("alone.db", [folder])):
        catalog = ["--catalog", str(archive.folder / name)]
        result = CliRunner().invoke(app, [*common, *catalog, *words])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["indexed"] == 3
    assert everything(archive.folder / "ray.db") == everything(archive.folder / "alone.db")


@pytest.mark.parametrize(
    ("words", "address"),
    [
        (["D", "--ray"], ""),
        (["--ray", "D"], ""),
        (["D", "--ray", "--json"], ""),
        (["--ray", "auto", "D"], "auto"),
        (["D", "--ray", "10.0.0.1:6379"], "10.0.0.1:6379"),
        (["D", "--ray=ray://head:10001"], "ray://head:10001"),
        (["D"], None),
    ],
)
def test_an_address_may_follow(
    words: list[str], address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def run(*_: object, ray: str | None, **__: object) -> None:
        asked.append(ray)
        raise MissingError("enough")

    monkeypatch.setattr(command, "run_index", run)
    CliRunner().invoke(app, ["index", *words])
    assert asked == [address]


def test_ray_does_not_go_with_compile(archive: Archive) -> None:
    archive.add("0.mp4")
    result = CliRunner().invoke(app, ["index", str(archive.folder), "--ray", "--compile"])
    assert result.exit_code == 2 and "--compile" in result.stderr
