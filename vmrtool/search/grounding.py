"""Grounding: where in a window of a video a query is true. Used by search and evaluation alike.

A window is encoded once, whatever is asked; what comes of it is rounded to float16, so that it is
the same whether it was kept or has just been made. Then it meets queries, each prepared once for
all its windows. All of it happens in batches of one fixed shape for each length, so that what is
found in a window does not depend, to the last bit, on what else is looked at in the same go.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.decoding import decode_output, span_presence
from vmrtool.grounding.network import EncodedQuery, GroundingNetwork, PreparedQuery
from vmrtool.grounding.queries import pad_words
from vmrtool.search.labels import LabelModel, Model
from vmrtool.search.merging import Candidate, Order, merge
from vmrtool.search.windows import Window, tile_windows

PER_WINDOW = 5  # moments looked for in one window
NMS_IOU = 0.5  # of moments within a given video that overlap more, the best is kept
_STEP = 16  # windows are padded to a multiple of this many snippets
_WORD_STEP = 8  # and queries, when they meet windows, to a multiple of this many words
_QUERIES_AT_ONCE = 4
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class WindowFeatures:
    """Snippets [first, first + n) of a video: features (n, Dv), cells (n, 2) in seconds."""

    features: NDArray[np.floating]
    cells: NDArray[np.float64]
    first: int = 0

    def __len__(self) -> int:
        """Number of snippets."""
        return len(self.features)


@dataclass(frozen=True)
class EncodedWindow:
    """A window as the network has read it: values (n, K) float16, cells (n, 2) in seconds.

    The values are `GroundingNetwork.keep`'s, K wide; no query has a part in them.
    """

    values: NDArray[np.float16]
    cells: NDArray[np.float64]
    first: int = 0

    def __len__(self) -> int:
        """Number of snippets."""
        return len(self.values)


AnyWindow = WindowFeatures | EncodedWindow


@dataclass(frozen=True)
class Queries:
    """Queries ready to be grounded: encoded, Q rows, and their vectors (Q, d).

    Those of a network are unit vectors; the zero-shot model has the vectors alone.
    """

    encoded: EncodedQuery | None
    vectors: torch.Tensor


def batch_size(device: torch.device) -> int:
    """Windows in a batch: a CPU gains little above 10, another device wants it wide.

    The last batch of each length is filled up, which a small one is with less waste.
    """
    return 10 if device.type == "cpu" else 64


@torch.inference_mode()
def encode_queries(model: Model, queries: Sequence[str]) -> Queries:
    """Encodes queries, at least one; words the model does not know become `<unk>`."""
    if isinstance(model, LabelModel):
        likenesses = np.stack([model.query_vector(query) for query in queries])
        return Queries(None, torch.from_numpy(likenesses))
    words, mask = pad_words([model.words(query) for query in queries], model.config.max_words)
    parts, vectors = [], []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        # One shape here as well: rows without a query repeat the batch's first.
        rows = [
            row if row < len(queries) else start for row in range(start, start + _QUERIES_AT_ONCE)
        ]
        encoded = model.network.encode_query(
            words[rows].to(model.device), mask[rows].to(model.device)
        )
        parts.append(encoded)
        vectors.append(model.network.retrieval.query_vector(encoded.content, encoded.mask))
    return Queries(EncodedQuery.join(parts), torch.cat(vectors)[: len(queries)])


def cut(
    features: NDArray[np.floating], cells: NDArray[np.float64], size: int
) -> list[WindowFeatures]:
    """A video's features (N, Dv) and cells (N, 2) as the windows that tile it."""
    return [
        WindowFeatures(features[first : first + n], cells[first : first + n], first)
        for first, n in tile_windows(len(features), size)
    ]


def batches(
    windows: Sequence[NDArray[np.floating]], size: int, longest: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Yields windows, (n, W) each, in batches of one fixed shape for each padded length.

    Each is the indexes of its windows (at most `size`), their values float32 (size, N, W) and mask
    (size, N) bool on the CPU. N is the windows' length rounded up, at most `longest`, the most
    snippets the network takes; rows without a window repeat the batch's first.
    """
    padded = [min(-(-len(window) // _STEP) * _STEP, longest) for window in windows]
    for length in sorted(set(padded)):
        members = [index for index, n in enumerate(padded) if n == length]
        for start in range(0, len(members), size):
            chosen = members[start : start + size]
            values = np.zeros((size, length, windows[chosen[0]].shape[1]), np.float32)
            mask = np.zeros((size, length), bool)
            for row, index in enumerate(chosen + chosen[:1] * (size - len(chosen))):
                values[row, : len(windows[index])] = windows[index]
                mask[row, : len(windows[index])] = True
            yield chosen, torch.from_numpy(values), torch.from_numpy(mask)


def rounded(values: torch.Tensor) -> NDArray[np.float16]:
    """float16; what is beyond its range becomes its largest number."""
    half: NDArray[np.float16] = values.clamp(-_LARGEST, _LARGEST).half().cpu().numpy()
    return half


@torch.inference_mode()
def encode_windows(model: GroundingModel, windows: Sequence[AnyWindow]) -> list[EncodedWindow]:
    """Windows as the network reads them before any query; encoded ones stay as they are."""
    network, device = model.network, model.device
    encoded = {i: window for i, window in enumerate(windows) if isinstance(window, EncodedWindow)}
    plain = {i: window for i, window in enumerate(windows) if isinstance(window, WindowFeatures)}
    numbers = list(plain)
    for chosen, features, mask in batches(
        [window.features for window in plain.values()],
        batch_size(device),
        model.config.max_snippets,
    ):
        values = rounded(network.keep(network.encode_video(features.to(device), mask.to(device))))
        for row, index in enumerate(chosen):
            window = plain[numbers[index]]
            own = values[row, : len(window)].copy()  # not the whole batch
            encoded[numbers[index]] = EncodedWindow(own, window.cells, window.first)
    return [encoded[i] for i in range(len(windows))]


@torch.inference_mode()
def ground_windows(
    model: Model,
    windows: Sequence[AnyWindow],
    queries: Queries,
    pairs: Sequence[tuple[int, int]],
    *,
    nms_iou: float = NMS_IOU,
) -> list[list[Candidate]]:
    """Moments of each (window, query) pair, given as their numbers.

    A window that several queries meet is encoded once. Returns, for each pair, at most `PER_WINDOW`
    candidates, most probable span first, with snippets counted from the video's first; of a network
    no two overlap by more than `nms_iou`.
    """
    if isinstance(model, LabelModel):
        asked_for = queries.vectors.numpy()
        return [_by_labels(model, windows[number], asked_for[query]) for number, query in pairs]
    assert queries.encoded is not None
    network, device = model.network, model.device
    encoded = encode_windows(model, windows)
    found: list[list[Candidate]] = [[] for _ in pairs]
    prepared: dict[int, PreparedQuery] = {}
    for chosen, values, mask in _meetings(model, encoded, queries.encoded, pairs):
        rows = [pairs[index][1] for index in chosen]
        rows += rows[:1] * (len(values) - len(rows))
        # Those of one batch are in memory: a prepared query is large.
        prepared = {
            row: prepared.get(row) or prepared_query(network, queries.encoded, row)
            for row in dict.fromkeys(rows)
        }
        asked = torch.tensor(rows, device=device)
        mask = mask.to(device)
        video = network.kept(values.to(device), mask)
        output = network.ground(video, PreparedQuery.join([prepared[row] for row in rows]))
        cells = np.zeros((*mask.shape, 2))
        for row, index in enumerate(chosen):
            window = encoded[pairs[index][0]]
            cells[row, : len(window)] = window.cells
        seconds = torch.from_numpy(cells)
        spans = decode_output(output, seconds, model.config, top=PER_WINDOW, nms_iou=nms_iou)
        # The cosine is with the moment's own snippets: a stretch of its own, pooled like the rest.
        own = np.zeros((len(values), PER_WINDOW, 2), np.int64)
        for row, decoded in enumerate(spans):
            for place, span in enumerate(decoded):
                own[row, place] = span.first, span.last
        stretches = torch.from_numpy(own).to(device)
        vectors = network.retrieval.stretch_vectors(video.content, mask, stretches)
        cosines = torch.einsum("bpd,bd->bp", vectors, queries.vectors[asked]).cpu()
        segments = None if output.segment_logits is None else output.segment_logits.cpu()
        for row, index in enumerate(chosen):
            before = encoded[pairs[index][0]].first
            for place, span in enumerate(spans[row]):
                similarity = float(cosines[row, place])
                presence = (
                    None
                    if segments is None
                    else span_presence(segments[row], span.first, span.last)
                )
                log_span = math.log(max(span.probability, 1e-30))
                found[index].append(
                    Candidate(
                        first=before + span.first,
                        last=before + span.last,
                        start=span.start,
                        end=span.end,
                        similarity=similarity,
                        grounding=span.probability,
                        presence=presence,
                        score=model.ranking.score(similarity, log_span, presence),
                    )
                )
    return found


def prepared_query(network: GroundingNetwork, encoded: EncodedQuery, row: int) -> PreparedQuery:
    """One of several encoded queries, ready to meet windows; padded to its own length alone."""
    query = encoded.select(torch.tensor([row], device=encoded.mask.device))
    return network.prepare(query.shortened(_padded_length(encoded, row)))


def _padded_length(encoded: EncodedQuery, row: int) -> int:
    words = int(encoded.mask[row].sum())
    return min(-(-words // _WORD_STEP) * _WORD_STEP, encoded.mask.shape[1])


def _meetings(
    model: GroundingModel,
    windows: Sequence[EncodedWindow],
    encoded: EncodedQuery,
    pairs: Sequence[tuple[int, int]],
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Yields pairs of a window and a query as `batches` does, queries of one padded length each."""
    lengths = {row: _padded_length(encoded, row) for row in {row for _, row in pairs}}
    for length in sorted(set(lengths.values())):
        members = [index for index, (_, row) in enumerate(pairs) if lengths[row] == length]
        for chosen, values, mask in batches(
            [windows[pairs[index][0]].values for index in members],
            batch_size(model.device),
            model.config.max_snippets,
        ):
            yield [members[place] for place in chosen], values, mask


def _by_labels(
    model: LabelModel, window: AnyWindow, vector: NDArray[np.float32]
) -> list[Candidate]:
    assert isinstance(window, WindowFeatures)  # this model encodes nothing
    return model.ground(window.features, window.cells, window.first, vector)


def ground_videos(
    model: Model,
    videos: Sequence[tuple[NDArray[np.floating], NDArray[np.float64]]],
    queries: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    *,
    top: int = 5,
    order: Order = "score",
) -> list[list[Candidate]]:
    """The best moments of each (video, query) pair, every window of the video looked at.

    Args:
        model: the grounding model.
        videos: features (N, Dv) and cells (N, 2) in seconds of each video.
        queries: sentences.
        pairs: indexes into `videos` and `queries`.
        top: at most so many moments a pair.
        order: what ranks a video's moments: "score", comparable between windows, or
            "grounding", the paper's own within one window.

    Returns:
        For each pair its moments, best first.
    """
    encoded = encode_queries(model, queries)
    tiled = [cut(features, cells, model.config.max_snippets) for features, cells in videos]
    windows = [window for tiles in tiled for window in tiles]
    begins = np.cumsum([0, *map(len, tiled)])
    met = [
        (number, query)
        for video, query in pairs
        for number in range(begins[video], begins[video + 1])
    ]
    found = iter(ground_windows(model, windows, encoded, met))
    answers = []
    for video, _ in pairs:
        spans: list[Window] = [(window.first, len(window)) for window in tiled[video]]
        answers.append(
            merge(spans, [next(found) for _ in spans], top=top, nms_iou=NMS_IOU, order=order)
        )
    return answers


def ground(
    model: Model,
    features: NDArray[np.floating],
    cells: NDArray[np.float64],
    query: str,
    *,
    top: int = 5,
    order: Order = "score",
) -> list[Candidate]:
    """The best moments of one video for one query: features (N, Dv), cells (N, 2) in seconds."""
    return ground_videos(model, [(features, cells)], [query], [(0, 0)], top=top, order=order)[0]
