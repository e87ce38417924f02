"""From videos to snippets: decoding ahead, batches filled across videos, features."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.errors import MediaError, ModelError, UsageError
from vmrtool.features.backbones import Backbone, Preprocessing
from vmrtool.features.prefetch import DecodeAhead, End, Failure, Window
from vmrtool.features.windows import check_stride

_MOST_WINDOWS = 8
_BATCH_PIXELS = 2 * 64 * 224 * 224


@dataclass(frozen=True)
class Snippets:
    """What is stored of a video.

    Attributes:
        features: float16 (N, dim).
        seen: float64 (N, 2), seconds each feature was computed from.
        cells: float64 (N, 2), seconds each stands for; they tile [0, duration_s].
        duration_s: when the last frame ends, on the player's clock.
        truncated: what of the file was lost and where, or None.
    """

    features: NDArray[np.float16]
    seen: NDArray[np.float64]
    cells: NDArray[np.float64]
    duration_s: float
    truncated: str | None


def fitting_batch_size(preprocessing: Preprocessing, device: torch.device) -> int:
    """Windows a batch: 8, on a processor as many of them as fit in a gigabyte or two.

    At full size (64 frames of 224 x 224) a window takes 0.4 GB in bfloat16 and more in float32
    while the network runs; more than two at once make it no faster there.
    """
    if device.type != "cpu":
        return _MOST_WINDOWS
    height, width = preprocessing.framing.size
    fit = _BATCH_PIXELS // (preprocessing.frames * height * width)
    return max(1, min(_MOST_WINDOWS, fit))


@dataclass
class _Progress:
    """A video on its way: the features it has so far, and its end once it is known."""

    rows: list[NDArray[np.float16]] = field(default_factory=list)
    end: End | None = None


class Extractor:
    """Turns videos into snippets with one backbone.

    Every batch has the same size, padded where windows run out, so that a video's features are
    the same to the last bit whatever else is being worked on.

    Args:
        backbone: the network.
        stride: ticks from one window to the next.
        batch_size: windows a batch; None chooses (`fitting_batch_size`).

    Raises:
        UsageError: the stride would leave frames unseen.
    """

    def __init__(
        self, backbone: Backbone, *, stride: int = 16, batch_size: int | None = None
    ) -> None:
        try:
            check_stride(stride, backbone.info.preprocessing.frames)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.backbone = backbone
        self.stride = stride
        self.batch_size = batch_size or fitting_batch_size(
            backbone.info.preprocessing, backbone.device
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the features, as JSON values; what only decides the speed is not in."""
        return {
            "stride": self.stride,
            "sampling": "windows",
            "precision": self.backbone.precision,
            **self.backbone.info.preprocessing.to_json(),
        }

    def extract_many(
        self,
        paths: Iterable[Path],
        *,
        workers: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Path, Snippets | MediaError]]:
        """Snippets of each video, in order of completion; its error where it has none.

        Args:
            paths: read as they are needed, in threads of the extractor's.
            workers: videos decoded side by side.
            on_progress: told the seconds of video computed since it was last called.

        Raises:
            ModelError: the backbone gave features that are not numbers.
        """
        want = self.backbone.info.preprocessing
        videos: dict[int, _Progress] = {}
        waiting: list[Window] = []
        source = DecodeAhead(
            paths,
            fps=want.fps,
            frames=want.frames,
            stride=self.stride,
            framing=want.framing,
            workers=workers,
            ahead=self.batch_size + workers,
        )
        with source as events:
            for event in events:
                if isinstance(event, Failure):
                    videos.pop(event.video, None)
                    waiting = [window for window in waiting if window.video != event.video]
                    yield event.path, event.error
                    continue
                progress = videos.setdefault(event.video, _Progress())
                if isinstance(event, End):
                    progress.end = event
                else:
                    waiting.append(event)
                    if len(waiting) == self.batch_size:
                        self._compute(waiting, videos, on_progress)
                        waiting = []
                yield from self._complete(videos, on_progress)
            if waiting:
                self._compute(waiting, videos, on_progress)
            yield from self._complete(videos, on_progress)

    def _compute(
        self,
        windows: list[Window],
        videos: dict[int, _Progress],
        on_progress: Callable[[float], None] | None,
    ) -> None:
        """Features of at most a batch of windows, each put with its video."""
        want = self.backbone.info.preprocessing
        height, width = want.framing.size
        frames = np.zeros((self.batch_size, want.frames, height, width, 3), dtype=np.uint8)
        for row, window in zip(frames, windows, strict=False):
            np.stack(window.pictures, out=row)
        features = self.backbone(self.backbone.clips(torch.from_numpy(frames)))
        values = features[: len(windows)].half().cpu().numpy()
        if not np.isfinite(values).all():
            raise ModelError(
                f"backbone '{self.backbone.info.name}' gave features that float16 cannot hold",
                remedy="Check its weights, or use --precision float32.",
            )
        advanced = 0
        for window, row in zip(windows, values, strict=True):
            rows = videos[window.video].rows
            # A video's first window is longer than a stride: it counts when the video is done.
            advanced += bool(rows)
            rows.append(row)
        if on_progress is not None:
            on_progress(advanced * self.stride / want.fps)

    def _complete(
        self, videos: dict[int, _Progress], on_progress: Callable[[float], None] | None
    ) -> Iterator[tuple[Path, Snippets]]:
        """Takes out the videos whose features are all there."""
        for video, progress in list(videos.items()):
            end = progress.end
            if end is None or len(progress.rows) < len(end.tiling.starts):
                continue
            del videos[video]
            if on_progress is not None:
                told = (len(progress.rows) - 1) * self.stride / self.backbone.info.preprocessing.fps
                on_progress(max(0.0, end.duration_s - told))
            yield (
                end.path,
                Snippets(
                    features=np.stack(progress.rows),
                    seen=end.tiling.seen,
                    cells=end.tiling.cells,
                    duration_s=end.duration_s,
                    truncated=end.truncated,
                ),
            )
