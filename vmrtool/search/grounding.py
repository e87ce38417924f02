"""Grounding: where in a window of a video a query is true. Used by search and evaluation alike.

Windows meet queries in batches of one fixed shape for each length, so that what is found in a
window does not depend, to the last bit, on what else is looked at in the same go.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.grounding.decoding import decode_output, span_presence
from vmrtool.grounding.network import EncodedQuery
from vmrtool.grounding.queries import pad_words
from vmrtool.search.labels import LabelModel, Model
from vmrtool.search.merging import Candidate, Order, merge
from vmrtool.search.windows import Window, tile_windows

PER_WINDOW = 5  # moments looked for in one window
NMS_IOU = 0.5  # two moments of a video that overlap more than this are one
_STEP = 32  # windows are padded to a multiple of this many snippets


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
class Queries:
    """Queries ready to be grounded: encoded, Q rows, and their vectors (Q, d).

    Those of a network are unit vectors; the zero-shot model has the vectors alone.
    """

    encoded: EncodedQuery | None
    vectors: torch.Tensor


def batch_size(device: torch.device) -> int:
    """Windows in a batch: a CPU gains nothing above 8, another device wants it wide."""
    return 8 if device.type == "cpu" else 64


@torch.inference_mode()
def encode_queries(model: Model, queries: Sequence[str]) -> Queries:
    """Encodes queries; words the model does not know become `<unk>`."""
    if isinstance(model, LabelModel):
        rows = np.stack([model.query_vector(query) for query in queries])
        return Queries(None, torch.from_numpy(rows))
    words, mask = pad_words([model.words(query) for query in queries], model.config.max_words)
    encoded = model.network.encode_query(words.to(model.device), mask.to(model.device))
    return Queries(encoded, model.network.retrieval.query_vector(encoded.content, encoded.mask))


def cut(
    features: NDArray[np.floating], cells: NDArray[np.float64], size: int
) -> list[WindowFeatures]:
    """A video's features (N, Dv) and cells (N, 2) as the windows that tile it."""
    return [
        WindowFeatures(features[first : first + n], cells[first : first + n], first)
        for first, n in tile_windows(len(features), size)
    ]


def batches(
    windows: Sequence[WindowFeatures], size: int, longest: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Yields windows in batches of one fixed shape for each padded length.

    Each is the indexes of its windows (at most `size`), features float32 (size, N, Dv) and mask
    (size, N) bool on the CPU. N is the windows' length rounded up, at most `longest`, the most
    snippets the network takes; rows without a window repeat the batch's first.
    """
    padded = [min(-(-len(window) // _STEP) * _STEP, longest) for window in windows]
    for length in sorted(set(padded)):
        members = [index for index, n in enumerate(padded) if n == length]
        for start in range(0, len(members), size):
            chosen = members[start : start + size]
            features = np.zeros((size, length, windows[chosen[0]].features.shape[1]), np.float32)
            mask = np.zeros((size, length), bool)
            for row, index in enumerate(chosen + chosen[:1] * (size - len(chosen))):
                features[row, : len(windows[index])] = windows[index].features
                mask[row, : len(windows[index])] = True
            yield chosen, torch.from_numpy(features), torch.from_numpy(mask)


@torch.inference_mode()
def ground_windows(
    model: Model,
    windows: Sequence[WindowFeatures],
    queries: Queries,
    query_of: Sequence[int],
) -> list[list[Candidate]]:
    """Moments of each window for its query: `query_of[i]` is the row of window i's query.

    Returns, for each window, at most `PER_WINDOW` candidates, most probable span first, with
    snippets counted from the video's first. A window may be given several times, for several
    queries.
    """
    if isinstance(model, LabelModel):
        asked_for = queries.vectors.numpy()
        return [
            model.ground(window.features, window.cells, window.first, asked_for[query])
            for window, query in zip(windows, query_of, strict=True)
        ]
    assert queries.encoded is not None
    network, device = model.network, model.device
    found: list[list[Candidate]] = [[] for _ in windows]
    for chosen, features, mask in batches(windows, batch_size(device), model.config.max_snippets):
        rows = [query_of[index] for index in chosen]
        asked = torch.tensor(rows + rows[:1] * (len(features) - len(rows)), device=device)
        mask = mask.to(device)
        video = network.encode_video(features.to(device), mask)
        output = network.fuse_and_predict(video, queries.encoded.select(asked))
        cells = torch.zeros(*mask.shape, 2, dtype=torch.float64)
        for row, index in enumerate(chosen):
            cells[row, : len(windows[index])] = torch.from_numpy(windows[index].cells)
        spans = decode_output(output, cells, model.config, top=PER_WINDOW, nms_iou=NMS_IOU)
        # The cosine is with the moment's own snippets: a stretch of its own, pooled like the rest.
        own = np.zeros((len(features), PER_WINDOW, 2), np.int64)
        for row, decoded in enumerate(spans):
            for place, span in enumerate(decoded):
                own[row, place] = span.first, span.last
        stretches = torch.from_numpy(own).to(device)
        vectors = network.retrieval.stretch_vectors(video.content, mask, stretches)
        cosines = torch.einsum("bpd,bd->bp", vectors, queries.vectors[asked]).cpu()
        segments = None if output.segment_logits is None else output.segment_logits.cpu()
        for row, index in enumerate(chosen):
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
                        first=windows[index].first + span.first,
                        last=windows[index].first + span.last,
                        start=span.start,
                        end=span.end,
                        similarity=similarity,
                        grounding=span.probability,
                        presence=presence,
                        score=model.ranking.score(similarity, log_span, presence),
                    )
                )
    return found


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
    windows = [window for video, _ in pairs for window in tiled[video]]
    query_of = [query for video, query in pairs for _ in tiled[video]]
    found = iter(ground_windows(model, windows, encoded, query_of))
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
