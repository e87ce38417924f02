"""The zero-shot model: class scores of stored features against names, right and wrong."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from seeded_backbone import seeded_network
from typer.testing import CliRunner

import vmrtool
from vmrtool.assets import find_model
from vmrtool.catalog import Catalog
from vmrtool.catalog.merge import merge_catalogs
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
from vmrtool.cli import app
from vmrtool.demo.render import render_clip
from vmrtool.demo.scenes import Scene, plan_video
from vmrtool.errors import MissingError, ModelError
from vmrtool.features.backbones import Backbone, Preprocessing, load_backbone, save_backbone
from vmrtool.features.class_head import ClassHead, class_head, class_names, head_key
from vmrtool.grounding.checkpoint import ExtractorSpec
from vmrtool.search import label_model
from vmrtool.search.archive import Archive
from vmrtool.search.labels import LabelModel
from vmrtool.text.likeness import Likeness, by_glove, by_text_model, by_words

NAMES = ("red circle moves left", "green square spins", "blue triangle grows", "yellow circle hops")
CELL = 0.5
Videos = dict[str, tuple[np.ndarray, np.ndarray]]


def head(permuted: bool = False) -> ClassHead:
    """Recognises the direction of each class in 8-d features."""
    weight = np.zeros((4, 8), np.float32)
    weight[np.arange(4), np.arange(4)] = 12.0
    return ClassHead(NAMES, np.roll(weight, 1, axis=0) if permuted else weight, -np.ones(4), True)


def video(events: dict[int, tuple[int, int]], n: int = 40, seed: int = 0) -> Any:
    """Features and cells of a video in which class c shows from snippet a to b, both inside."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0.0, 0.05, (n, 8))
    for c, (a, b) in events.items():
        features[a : b + 1, c] += 1.0
    edges = np.arange(n + 1) * CELL
    return features.astype(np.float16), np.stack([edges[:-1], edges[1:]], axis=1)


VIDEOS: Videos = {
    "one": video({0: (6, 13), 3: (30, 30)}, seed=1),
    "two": video({1: (20, 27)}, seed=2),
    "three": video({2: (3, 9), 0: (50, 50)}, 60, seed=3),
    "none": video({}, seed=4),
}


def vectors_of_letters(texts: Sequence[str]) -> np.ndarray:
    """A stand-in for a text model: it knows that some words mean the same."""
    same = {"disc": "circle", "ball": "circle", "box": "square", "rotates": "spins"}
    rows = np.zeros((len(texts), 2048))
    for row, text in zip(rows, texts, strict=True):
        for word in text.split():
            rng = np.random.default_rng(list(same.get(word, word).encode()))
            row += rng.standard_normal(2048)
    return rows


def glove() -> dict[str, np.ndarray]:
    words = [*" ".join(NAMES).split(), "disc", "rotates"]
    return {word: vectors_of_letters([word])[0] for word in words}


WAYS = {
    "words": by_words(NAMES),
    "glove": by_glove(NAMES, glove()),
    "text model": by_text_model(NAMES, vectors_of_letters),
}


def model(way: str = "words", permuted: bool = False) -> LabelModel:
    return LabelModel(head(permuted), WAYS[way], ExtractorSpec("stand-in"))


def first(asked: LabelModel, query: str, videos: Videos = VIDEOS) -> tuple[str, float, float]:
    found = Archive.in_memory(asked, videos).find(asked, query).moments
    best = max(
        ((name, moment) for name, moments in found.items() for moment in moments),
        key=lambda pair: pair[1].score,
    )
    return best[0], best[1].start, best[1].end


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("red circle moves left", ("one", 3.0, 7.0)),
        ("the green square spins", ("two", 10.0, 14.0)),
        ("blue triangle grows", ("three", 1.5, 5.0)),
        ("yellow circle hops", ("one", 15.0, 15.5)),  # a moment of a single cell
    ],
)
def test_the_right_moment_comes_first(
    way: str, query: str, where: tuple[str, float, float]
) -> None:
    assert first(model(way), query) == where
    assert first(model(way, permuted=True), query) != where


def test_words_of_the_same_stem_or_meaning_count() -> None:
    assert first(model("words"), "spinning squares") == ("two", 10.0, 14.0)
    assert first(model("glove"), "red disc moves left")[0] == "one"
    assert first(model("text model"), "green box rotates")[0] == "two"
    assert model("glove").unknown_words(["the", "red", "zebra"]) == ["zebra"]


@pytest.mark.parametrize("way", WAYS)
def test_a_query_far_from_all_classes_says_so(way: str) -> None:
    asked = model(way)
    note = asked.note("zebras vote twice")
    assert note is not None and "far from all 4 classes" in note
    assert asked.note("a red circle moves left") is None


def test_nothing_is_found_where_nothing_is_like_the_query() -> None:
    asked = model("words")
    moments = Archive.in_memory(asked, VIDEOS).find(asked, "zebras vote twice").moments
    assert moments and not any(moments.values())


def test_scores_lie_between_0_and_1_and_moments_do_not_overlap() -> None:
    asked = model()
    for query in (*NAMES, "circle"):
        for moments in Archive.in_memory(asked, VIDEOS).find(asked, query).moments.values():
            assert all(0.0 <= m.score <= 1.0 and m.end - m.start >= CELL for m in moments)
            spans = sorted((m.start, m.end) for m in moments)
            assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_neither_order_nor_company_matter() -> None:
    asked = model()
    whole = Archive.in_memory(asked, VIDEOS).find(asked, NAMES[1]).moments
    turned = Archive.in_memory(asked, dict(reversed(VIDEOS.items()))).find(asked, NAMES[1]).moments
    assert turned == whole
    alone = Archive.in_memory(asked, {"two": VIDEOS["two"]}).find(asked, NAMES[1]).moments
    assert alone["two"] == whole["two"]


def test_a_long_video_is_read_in_windows() -> None:
    long = video({1: (1500, 1530)}, 2600)
    assert first(model(), NAMES[1], {"long": long}) == ("long", 1500 * CELL, 1531 * CELL)


def test_a_class_head_fits_its_names() -> None:
    with pytest.raises(ModelError, match="3 class names"):
        ClassHead(NAMES[:3], head().weight, head().bias, True)
    with pytest.raises(ModelError, match="numbers"):
        model().class_weights(np.zeros((2, 5)))
    again = ClassHead.from_json(json.loads(json.dumps(head().to_json())))
    assert again.names == NAMES and np.array_equal(again.weight, head().weight)
    with pytest.raises(ModelError):
        ClassHead.from_json({"names": ["a"]})


def test_names_of_the_published_classes(real_data: Path) -> None:
    kinetics = class_names("i3d")
    told = (real_data / "kinetics400_label_map.txt").read_text().splitlines()
    assert list(kinetics) == told == sorted(told) and len(kinetics) == 400
    assert class_names("i3d-r50") == kinetics
    charades = class_names("i3d-charades")
    assert len(set(charades)) == 157
    assert (charades[8], charades[97], charades[156]) == (
        "Opening a door", "Walking through a doorway", "Someone is eating something",
    )  # fmt: skip
    assert class_names("c3d") == ()


# With a backbone: its last layer is fitted on rendered clips --------------------------------------

SMALL = Preprocessing(fps=24.0, frames=16, resize=("exact", (60, 80)), crop=None)
FRAMES, STRIDE_S = 16, 16 / 24.0


def snippets(backbone: Backbone, scene: Scene, count: int) -> tuple[np.ndarray, np.ndarray]:
    clips = np.stack(
        [
            render_clip(scene, k * STRIDE_S, frames=FRAMES, fps=24.0, scale=0.25)
            for k in range(count)
        ]
    )
    features = backbone(backbone.clips(torch.from_numpy(clips))).numpy().astype(np.float16)
    edges = np.arange(count + 1) * STRIDE_S
    return features, np.stack([edges[:-1], edges[1:]], axis=1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Any:
    """A backbone of random weights whose last layer tells the events of two rendered videos apart,
    their features, and each event with its video and times."""
    folder = tmp_path_factory.mktemp("labels")
    network = seeded_network()
    save_backbone(
        folder / "b.safetensors", network, name="blocks", width=0.125, preprocessing=SMALL
    )
    backbone = load_backbone("blocks", folder / "b.safetensors")
    scenes = {f"clip{i}.mp4": plan_video(3, i) for i in range(2)}
    videos = {name: snippets(backbone, scene, 24) for name, scene in scenes.items()}
    events: dict[str, tuple[str, float, float]] = {}
    for name, scene in scenes.items():
        for event in scene.events:
            said = f"{' and '.join(event.objects)} {event.kind}"
            if said not in events and event.end < 24 * STRIDE_S:
                events[said] = (name, event.start, event.end)
    rows = np.concatenate([features for features, _ in videos.values()]).astype(np.float64)
    middle, spread = rows.mean(axis=0), rows.std() + 1e-6
    targets = np.concatenate(
        [
            [
                [12.0 * (v == name and s <= c.mean() <= e) - 6.0 for v, s, e in events.values()]
                for c in cells
            ]
            for name, (_, cells) in videos.items()
        ]
    )
    x = np.concatenate([(rows - middle) / spread, np.ones((len(rows), 1))], axis=1)
    solution = np.linalg.lstsq(x, targets, rcond=1e-6)[0]
    network.logits = type(network.logits)(network.dim, len(events))
    weight = (solution[:-1] / spread).T
    bias = solution[-1] - weight @ middle
    with torch.no_grad():
        network.logits.conv3d.weight.copy_(
            torch.tensor(weight, dtype=torch.float32)[..., None, None, None]
        )
        network.logits.conv3d.bias.copy_(torch.tensor(bias, dtype=torch.float32))
    save_backbone(
        folder / "blocks.safetensors", network, name="blocks", width=0.125, preprocessing=SMALL,
        extra={"class_names": list(events)},
    )  # fmt: skip
    return folder / "blocks.safetensors", videos, events, scenes


def catalog_of(path: Path, videos: Videos, sha256: str, stored: ClassHead | None) -> Path:
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("blocks", sha256, {"stride": 16})
        catalog.use_extractor(extractor)
        for name, (features, cells) in videos.items():
            file = FoundFile(path.parent / name, path.parent, size=1, mtime_ns=1)
            rows = StoredSnippets(features, cells, cells)
            catalog.save_video(file, name, FileFacts(), extractor, rows)
        if stored is not None:
            catalog.remember(**{head_key(sha256): stored.to_json()})
    return path


def test_scores_of_stored_features_are_the_backbones_own(fitted: Any) -> None:
    file, _, _, scenes = fitted
    backbone = load_backbone("blocks", file)
    clip = render_clip(scenes["clip0.mp4"], 4.0, frames=64, fps=24.0, scale=0.25)
    features, scores = backbone(backbone.clips(torch.from_numpy(clip)[None]), scores=True)
    kept = ClassHead.from_json(backbone.head.to_json())
    mine = kept.scores(features.numpy().astype(np.float16))
    size = np.abs(backbone.head.weight) @ np.abs(features.numpy()[0]) + np.abs(backbone.head.bias)
    assert np.abs(mine - scores.numpy()).max() <= (size * 2**-9).max()
    assert np.argmax(mine) == np.argmax(scores.numpy())


def test_rendered_events_are_found_by_a_fitted_last_layer(fitted: Any, tmp_path: Path) -> None:
    file, videos, events, _ = fitted
    backbone = load_backbone("blocks", file)
    layer = backbone.head
    path = catalog_of(tmp_path / "v.db", videos, backbone.weights_sha256, layer)
    other = ClassHead(layer.names, np.roll(layer.weight, 1, 0), np.roll(layer.bias, 1), False)
    wrong = catalog_of(tmp_path / "w.db", videos, backbone.weights_sha256, other)

    def right(catalog: Path) -> int:
        count = 0
        with vmrtool.open(catalog) as archive:
            assert archive.model == "labels"
            for said, (name, start, end) in events.items():
                best = archive.search(said).moments[0]
                shared = min(best.end, end) - max(best.start, start)
                union = max(best.end, end) - min(best.start, start)
                count += best.path.name == name and shared / union >= 0.5
        return count

    assert len(events) >= 4
    assert right(path) >= len(events) - 1
    assert right(wrong) <= 1


def search(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", *arguments])


def test_search_falls_back_to_it_and_says_so(fitted: Any, tmp_path: Path) -> None:
    file, videos, events, _ = fitted
    backbone = load_backbone("blocks", file)
    path = catalog_of(tmp_path / "v.db", videos, backbone.weights_sha256, backbone.head)
    query = next(iter(events))
    done = search(query, "--catalog", str(path))
    assert done.exit_code == 0 and json.loads(done.stdout)["model"] == "labels"
    assert done.stderr.startswith("note: Model labels is zero-shot")
    table = search(query, "--catalog", str(path), "--format", "table").stdout
    assert "labels (zero-shot)" in table
    far = search("zebras vote", "--catalog", str(path))
    assert far.exit_code == 0 and "far from all" in far.stderr


def test_several_catalogs_answer_as_their_merger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, parts = list(VIDEOS), []
    for number in range(2):
        videos = {name: VIDEOS[name] for name in names[number::2]}
        parts.append(catalog_of(tmp_path / f"{number}.db", videos, "5" * 64, head()))
    merged = tmp_path / "merged.db"
    merge_catalogs(parts, merged)
    for query, where in ((NAMES[0], "one"), (NAMES[1], "two"), ("a circle", None)):
        with vmrtool.open(merged) as archive:
            expected = archive.search(query)
        with vmrtool.open(parts) as archive:
            found = archive.search(query)
        assert found.moments == expected.moments and found.videos_searched == 4
        assert found.model == "labels" and found.zero_shot
        assert where is None or found.moments[0].path.name == where

    read: list[object] = []
    from_json = ClassHead.from_json
    monkeypatch.setattr(
        ClassHead, "from_json", lambda values: read.append(None) or from_json(values)
    )
    with vmrtool.open(parts) as archive:
        assert archive.notes[0].startswith(f"{parts[0]}: Model labels is zero-shot")
    assert len(read) == len(parts)

    alien = ClassHead(NAMES, np.roll(head().weight, 1, axis=0), head().bias, True)
    with (
        pytest.raises(ModelError, match="scores cannot be compared"),
        vmrtool.open([parts[0], catalog_of(tmp_path / "a.db", VIDEOS, "6" * 64, alien)]),
    ):
        pass


def test_a_stored_class_head_that_cannot_be_read(tmp_path: Path) -> None:
    path = catalog_of(tmp_path / "v.db", VIDEOS, "5" * 64, head())
    with Catalog.open(path, readonly=False) as catalog:
        catalog.remember(**{head_key("5" * 64): {"names": ["a"]}})
    with pytest.raises(ModelError, match=r"v\.db.*cannot be read") as caught:
        vmrtool.open(path)
    assert "vmrtool index" in str(caught.value.remedy)


def test_without_a_class_head_it_says_the_ways_on(fitted: Any, tmp_path: Path) -> None:
    _, videos, _, _ = fitted
    path = catalog_of(tmp_path / "v.db", videos, "0" * 64, None)
    for extra in ([], ["--model", "labels"]):
        done = search("circle", "--catalog", str(path), *extra)
        assert done.exit_code == 3 and done.stdout == ""
        assert "vmrtool train" in done.stderr and len(done.stderr.strip().splitlines()) <= 3


def test_the_weights_do_where_the_catalog_has_no_head(fitted: Any, tmp_path: Path) -> None:
    file, videos, events, _ = fitted
    backbone = load_backbone("blocks", file)
    path = catalog_of(tmp_path / "v.db", videos, backbone.weights_sha256, None)
    with Catalog.open(path, readonly=False) as catalog:
        catalog.remember(weights=str(file))
    with vmrtool.open(path) as archive:
        assert archive.search(next(iter(events))).model == "labels"
    with Catalog.open(path) as catalog:
        assert catalog.setting(head_key(backbone.weights_sha256)) is not None


def test_names_and_classes_must_agree(tmp_path: Path) -> None:
    network = seeded_network()
    save_backbone(
        tmp_path / "b.safetensors", network, name="blocks", width=0.125, preprocessing=SMALL,
        extra={"class_names": ["only one"]},
    )  # fmt: skip
    with pytest.raises(ModelError, match="1 class names"):
        load_backbone("blocks", tmp_path / "b.safetensors")
    assert class_head("c3d", {}) is None


def test_a_recipe_chooses_how_names_are_compared(
    fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, videos, _, _ = fitted
    backbone = load_backbone("blocks", file)
    path = catalog_of(tmp_path / "v.db", videos, backbone.weights_sha256, backbone.head)
    run = tmp_path / "own"
    run.mkdir()

    def chosen(text: str) -> Likeness:
        (run / "recipe.toml").write_text(f'[labels]\ntext = "{text}"\n')
        with Catalog.open(path) as catalog:
            return label_model.open_labels(find_model(run), catalog).likeness

    assert chosen("words").way == "words"
    with pytest.raises(MissingError, match="word vectors"):
        chosen("glove")
    monkeypatch.setattr(label_model, "text_model_here", lambda name: True)
    monkeypatch.setattr(
        label_model, "sentence_vectors", lambda name, texts: vectors_of_letters(texts)
    )
    assert chosen("auto").way == chosen("sentence-transformers").way == "sentence-transformers"
    (run / "recipe.toml").write_text('[labels]\ntext = "telepathy"\n')
    assert search("circle", "--catalog", str(path), "--model", str(run)).exit_code == 2


def test_eval_measures_it(fitted: Any, tmp_path: Path) -> None:
    file, videos, events, _ = fitted
    backbone = load_backbone("blocks", file)
    path = catalog_of(tmp_path / "v.db", videos, backbone.weights_sha256, backbone.head)
    rows = [
        {"qid": n, "vid": Path(name).stem, "query": said, "relevant_windows": [[s, e]],
         "duration": 16.0}
        for n, (said, (name, s, e)) in enumerate(events.items())
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["eval", "--dataset", str(tmp_path / "q.jsonl"), "--catalog", str(path), "--corpus"]
    shown, blind = (
        json.loads(CliRunner().invoke(app, [*asked, "--model", "labels", *more]).stdout)["rows"][0]
        for more in ([], ["--blind"])
    )
    assert shown["method"] == "labels" and blind["method"].startswith("labels (")
    assert shown["R@1_IoU0.5"]["mean"] > 60.0 > 30.0 > blind["R@1_IoU0.5"]["mean"]
    assert shown["corpus_R@1_IoU0.5"]["mean"] > 60.0


def test_its_classes_are_listed() -> None:
    told = json.loads(CliRunner().invoke(app, ["models", "info", "labels"]).stdout)
    assert {name: len(classes) for name, classes in told["classes"].items()} == {
        "i3d": 400, "i3d-charades": 157, "i3d-r50": 400, "blocks": 144,
    }  # fmt: skip
