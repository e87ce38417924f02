"""What the network says of every snippet of a video for a query: the curves behind an answer."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.network import PreparedQuery
from vmrtool.search.grounding import (
    batch_size,
    batches,
    cut,
    encode_queries,
    encode_windows,
    prepared_query,
)
from vmrtool.search.windows import owner


@dataclass(frozen=True)
class Curves:
    """Probabilities (N,) of a video's N snippets, and their cells (N, 2) in seconds.

    `start` and `end` are eq. 14's and sum to 1 within a window, `inside` is eq. 15's, None where
    the variant has no moment segmentation.
    """

    cells: NDArray[np.float64]
    start: NDArray[np.float32]
    end: NDArray[np.float32]
    inside: NDArray[np.float32] | None


@dataclass(frozen=True)
class Evidence:
    """What stands behind a moment: its video's length in seconds, and the curves of the query.

    `curves` is None where the model gives no probabilities of starts and ends.
    """

    duration: float
    curves: Curves | None


@torch.inference_mode()
def snippet_curves(
    model: GroundingModel,
    features: NDArray[np.floating],
    cells: NDArray[np.float64],
    query: str,
) -> Curves:
    """The curves of one video, features (N, Dv) and cells (N, 2) in seconds, for one query.

    A video longer than a window is read in windows that overlap; each snippet then has the values
    of the window whose middle is nearest to it.
    """
    windows = cut(features, cells, model.config.max_snippets)
    asked = encode_queries(model, [query]).encoded
    assert asked is not None
    tiles = [(window.first, len(window)) for window in windows]
    heard = owner(tiles, np.arange(len(features))[:, None].repeat(2, axis=1))
    curves = np.zeros((3, len(features)), np.float32)
    prepared = prepared_query(model.network, asked, 0)
    encoded = [window.values for window in encode_windows(model, windows)]
    for chosen, values, mask in batches(
        encoded, batch_size(model.device), model.config.max_snippets
    ):
        video = model.network.kept(values.to(model.device), mask.to(model.device))
        output = model.network.ground(video, PreparedQuery.join([prepared] * len(mask)))
        said = list(output.probabilities())
        if output.segment_logits is not None:
            said.append(output.segment_logits.float().sigmoid())
        curved = torch.stack(said).cpu().numpy()
        for place, index in enumerate(chosen):
            first, n = tiles[index]
            own = np.flatnonzero(heard[first : first + n] == index)
            curves[: len(curved), first + own] = curved[:, place, own]
    inside = curves[2] if model.config.segments else None
    return Curves(cells, curves[0], curves[1], inside)
