"""From videos to snippets: decoding ahead, features on the device, put together by video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.errors import MediaError, ModelError, UsageError
from vmrtool.features.backbones import Backbone, Preprocessing
from vmrtool.features.compute import Engine, Result, StreamEngine, WindowEngine
from vmrtool.features.dense import reach
from vmrtool.features.i3d import STEP
from vmrtool.features.prefetch import DecodeAhead, End, Failure, Plan
from vmrtool.features.published import SAMPLINGS
from vmrtool.features.windows import StretchCutter, Tiling, WindowCutter, check_stride, tile

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
    count: int = 0
    end: End | None = None


class Extractor:
    """Turns videos into snippets with one backbone.

    Every batch has the same size, padded where windows run out, and every video is cut into the
    same stretches, so that its features are the same to the last bit whatever else is being
    worked on.

    Args:
        backbone: the network.
        stride: ticks from one window to the next; None for the backbone's own.
        sampling: "windows" computes each by itself; "dense" goes over the video once and pools
            every window from what the trunk has made of it.
        batch_size: windows a batch; None chooses (`fitting_batch_size`). Dense stretches have half
            as many frames as a batch of windows.
        devices: where to compute besides the backbone's own device.
        timeout_s: seconds that decoding one video may take; None for what its length allows.

    Raises:
        UsageError: the stride would leave frames unseen, or is none of the trunk's steps where
            sampling is dense; the backbone cannot be sampled so.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        stride: int | None = None,
        sampling: str = "windows",
        batch_size: int | None = None,
        devices: Sequence[torch.device] = (),
        timeout_s: float | None = None,
    ) -> None:
        want = backbone.info.preprocessing
        self.backbone = backbone
        self.stride = backbone.info.stride if stride is None else stride
        self.sampling = sampling
        self.timeout_s = timeout_s
        self._asked_batch_size = batch_size
        self.batch_size = batch_size or fitting_batch_size(want, backbone.device)
        try:
            check_stride(self.stride, want.frames)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if sampling not in SAMPLINGS:
            raise UsageError(
                f"sampling '{sampling}' is not known", remedy=f"Use {' or '.join(SAMPLINGS)}."
            )
        if sampling == "dense":
            backbone.stream()
            if self.stride % STEP or want.frames % STEP:
                raise UsageError(
                    f"dense sampling goes in steps of {STEP} frames, and stride {self.stride} is "
                    "none",
                    remedy=f"Use a stride of {STEP}, 16, 32 or 64, or --sampling windows.",
                )
        self._backbones = [backbone, *(backbone.on(d) for d in devices if d != backbone.device)]

    def on(self, device: torch.device) -> "Extractor":
        """The same extractor on another device."""
        return Extractor(
            self.backbone.on(device),
            stride=self.stride,
            sampling=self.sampling,
            batch_size=self._asked_batch_size,
            timeout_s=self.timeout_s,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the features, as JSON values; what only decides the speed is not in."""
        return {
            "stride": self.stride,
            "sampling": self.sampling,
            "precision": self.backbone.precision,
            **self.backbone.info.preprocessing.to_json(),
            **self.backbone.settings,
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
            UsageError: a batch does not fit into the device's memory.
        """
        videos: dict[int, _Progress] = {}
        engine = self._engine()
        with DecodeAhead(
            paths, self._plan(), workers=workers, ahead=self._ahead(workers)
        ) as events:
            for event in events:
                if isinstance(event, Failure):
                    engine.drop(event.video)
                    videos.pop(event.video, None)
                    yield event.path, event.error
                    continue
                progress = videos.setdefault(event.video, _Progress())
                if isinstance(event, End):
                    progress.end = event
                else:
                    self._take(engine.push(event), videos, on_progress)
                yield from self._complete(videos, on_progress)
            self._take(engine.flush(), videos, on_progress)
            yield from self._complete(videos, on_progress)

    @property
    def _stretch(self) -> int:
        """Frames of a stretch: whole steps of the trunk."""
        half = self.batch_size * self.backbone.info.preprocessing.frames // 2
        return max(STEP, half // STEP * STEP)

    def _engine(self) -> Engine:
        if self.sampling == "dense":
            return StreamEngine(self._backbones, self.stride)
        return WindowEngine(self._backbones, self.batch_size)

    def _ahead(self, workers: int) -> int:
        """Clips that may wait: another batch for every device, and one for every worker."""
        batch = 1 if self.sampling == "dense" else self.batch_size
        return batch * len(self._backbones) + workers

    def _plan(self) -> Plan:
        want, stride = self.backbone.info.preprocessing, self.stride
        around = (0, 0) if self.sampling == "windows" else reach(self.backbone.layers)

        def tiling(ticks: int, duration_s: float) -> Tiling:
            return tile(
                ticks,
                fps=want.fps,
                frames=want.frames,
                stride=stride,
                duration_s=duration_s,
                around=around,
            )

        def cutter() -> WindowCutter[Any] | StretchCutter[Any]:
            if self.sampling == "dense":
                return StretchCutter(self._stretch, want.frames, stride)
            return WindowCutter(want.frames, stride)

        pinned = self.backbone.device.type == "cuda"
        return Plan(want.fps, want.framing, cutter, tiling, pinned, self.timeout_s)

    def _take(
        self,
        results: Iterator[Result],
        videos: dict[int, _Progress],
        on_progress: Callable[[float], None] | None,
    ) -> None:
        """Puts features with their videos."""
        advanced = 0
        for video, rows in results:
            if not np.isfinite(rows).all():
                raise ModelError(
                    f"backbone '{self.backbone.info.name}' gave features that float16 cannot hold",
                    remedy="Check its weights, or use --precision float32.",
                )
            progress = videos.get(video)
            if progress is None:
                continue  # it has failed meanwhile
            # A video's first window is longer than a stride: it counts when the video is done.
            advanced += len(rows) - (not progress.count)
            progress.rows.append(rows)
            progress.count += len(rows)
        if on_progress is not None:
            on_progress(advanced * self.stride / self.backbone.info.preprocessing.fps)

    def _complete(
        self, videos: dict[int, _Progress], on_progress: Callable[[float], None] | None
    ) -> Iterator[tuple[Path, Snippets]]:
        """Takes out the videos whose features are all there."""
        for video, progress in list(videos.items()):
            end = progress.end
            if end is None or progress.count < len(end.tiling.starts):
                continue
            del videos[video]
            if on_progress is not None:
                told = (progress.count - 1) * self.stride / self.backbone.info.preprocessing.fps
                on_progress(max(0.0, end.duration_s - told))
            yield (
                end.path,
                Snippets(
                    features=np.concatenate(progress.rows),
                    seen=end.tiling.seen,
                    cells=end.tiling.cells,
                    duration_s=end.duration_s,
                    truncated=end.truncated,
                ),
            )
