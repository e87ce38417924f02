"""Queries grounded in many windows at once, as validation, evaluation and ranking need them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.decoding import decode_spans, span_presence
from vmrtool.grounding.network import EncodedQuery, EncodedVideo
from vmrtool.text.tokens import tokenize

_CHUNK = 64  # pairs that go through the network together


@dataclass(frozen=True)
class Window:
    """Up to `max_snippets` snippets of a video: features (n, dim) and cells (n, 2) seconds."""

    features: NDArray[np.float16]
    cells: NDArray[np.float64]


@dataclass(frozen=True)
class Grounded:
    """One moment found in one window: seconds, snippets, and the three signs that it is right.

    `log_span` is log P_start P_end; `presence` the mean segment logit inside, None where the
    network has no segmentation; `similarity` the cosine between the query and its snippets.
    """

    start: float
    end: float
    first: int
    last: int
    log_span: float
    presence: float | None
    similarity: float


def ground_pairs(
    model: GroundingModel,
    windows: Sequence[Window],
    queries: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    *,
    top: int,
    nms_iou: float = 0.5,
) -> list[list[Grounded]]:
    """Grounds query q in window w for every pair (q, w).

    Args:
        model: in evaluation mode.
        windows: the windows, none longer than the network takes.
        queries: the sentences.
        pairs: which to put together.
        top: most moments of each pair.
        nms_iou: a moment is left out where a likelier one overlaps it by more.

    Returns:
        For each pair its moments, likeliest first.
    """
    # Neighbours in this order share windows and lengths, so little is encoded twice or padded.
    order = sorted(
        range(len(pairs)), key=lambda k: (len(windows[pairs[k][1]].features), pairs[k][1])
    )
    found: list[list[Grounded]] = [[] for _ in pairs]
    for low in range(0, len(order), _CHUNK):
        chunk = order[low : low + _CHUNK]
        for k, moments in zip(
            chunk,
            _ground_chunk(model, windows, queries, [pairs[k] for k in chunk], top, nms_iou),
            strict=True,
        ):
            found[k] = moments
    return found


@torch.no_grad()
def _ground_chunk(
    model: GroundingModel,
    windows: Sequence[Window],
    queries: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    top: int,
    nms_iou: float,
) -> list[list[Grounded]]:
    """`ground_pairs` for as many pairs as fit through the network at once."""
    network = model.network
    query_ids = list(dict.fromkeys(q for q, _ in pairs))
    window_ids = list(dict.fromkeys(w for _, w in pairs))
    query = encode_queries(model, [queries[q] for q in query_ids])
    video = encode_windows(model, [windows[w] for w in window_ids])
    query_rows = torch.tensor([query_ids.index(q) for q, _ in pairs], device=model.device)
    window_rows = torch.tensor([window_ids.index(w) for _, w in pairs], device=model.device)
    query, video = query.select(query_rows), video.select(window_rows)
    output = network.fuse_and_predict(video, query)
    p_start, p_end = output.probabilities()
    cells = torch.zeros(len(pairs), video.mask.shape[1], 2, dtype=torch.float64)
    for row, (_, w) in enumerate(pairs):
        cells[row, : len(windows[w].cells)] = torch.from_numpy(windows[w].cells.copy())
    decoded = decode_spans(p_start, p_end, video.mask, cells, top=top, nms_iou=nms_iou)
    similarity = _similarities(model, video, query, decoded)
    results = []
    for row, spans in enumerate(decoded):
        moments = []
        for k, span in enumerate(spans):
            logits = output.segment_logits
            moments.append(
                Grounded(
                    start=span.start,
                    end=span.end,
                    first=span.first,
                    last=span.last,
                    log_span=float(np.log(max(span.probability, 1e-12))),
                    presence=None
                    if logits is None
                    else span_presence(logits[row], span.first, span.last),
                    similarity=float(similarity[row, k]),
                )
            )
        results.append(moments)
    return results


def encode_queries(model: GroundingModel, queries: Sequence[str]) -> EncodedQuery:
    """The sentences as the network encodes them, padded to the longest."""
    words = [model.vocabulary.encode(tokenize(query), model.config.max_words) for query in queries]
    lengths = torch.tensor([len(row) for row in words], device=model.device)
    padded = torch.zeros(len(words), max(map(len, words)), dtype=torch.int64)
    for row, numbers in enumerate(words):
        padded[row, : len(numbers)] = torch.tensor(numbers)
    mask = torch.arange(padded.shape[1], device=model.device) < lengths[:, None]
    return model.network.encode_query(padded.to(model.device), mask)


def encode_windows(model: GroundingModel, windows: Sequence[Window]) -> EncodedVideo:
    """The windows as the network encodes them, padded to the longest."""
    lengths = torch.tensor([len(window.features) for window in windows], device=model.device)
    padded = torch.zeros(len(windows), int(lengths.max()), model.config.video_dim)
    for row, window in enumerate(windows):
        padded[row, : len(window.features)] = torch.from_numpy(window.features.astype(np.float32))
    mask = torch.arange(padded.shape[1], device=model.device) < lengths[:, None]
    return model.network.encode_video(padded.to(model.device), mask)


def _similarities(
    model: GroundingModel, video: EncodedVideo, query: EncodedQuery, decoded: Sequence[Sequence]
) -> Tensor:
    """Cosine between each pair's query and each of its spans -> (pairs, most spans)."""
    most = max(1, *(len(spans) for spans in decoded))
    bounds = torch.zeros(len(decoded), most, 2, dtype=torch.int64)
    for row, spans in enumerate(decoded):
        for k, span in enumerate(spans):
            bounds[row, k] = torch.tensor((span.first, span.last))
    head = model.network.retrieval
    vectors = head.stretch_vectors(video.content, video.mask, bounds.to(model.device))
    wanted = head.query_vector(query.q_hat, query.mask)
    return (vectors.float() * wanted.float()[:, None]).sum(dim=-1)
