"""Draws a scene: a drifting backdrop and antialiased shapes, each blended into its own box.

Made to be fast, since networks train on clips rendered as they go: backdrops are strided crops
of a ready tile, and shapes come from a cache of sprites, at positions rounded to 1/4 or 1/8 pixel.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vmrtool.demo.scenes import HEIGHT, WIDTH, Background, Scene
from vmrtool.demo.shapes import bounding_radius, signed_distance
from vmrtool.demo.textures import SIZE, texture

Frames = NDArray[np.uint8]

_TURN = 2.0  # sprites' angles are rounded to this many degrees
_SHADOW = (2.5, 3.5)  # where a shape's shadow falls, pixels right and down in the full frame


def render_frame(scene: Scene, t: float, scale: float = 1.0) -> Frames:
    """The frame at `t` seconds -> (240 * scale, 320 * scale, 3) uint8 RGB."""
    return render_times(scene, np.array([t]), scale)[0]


def render_clip(
    scene: Scene,
    start_s: float,
    frames: int = 64,
    fps: float = 24.0,
    scale: float = 0.25,
    snap: bool = True,
) -> Frames:
    """A clip sampled at `fps` from `start_s` -> (frames, 240 * scale, 320 * scale, 3) uint8.

    With `snap` each sample is the frame that the video's file shows at that time, as a decoder
    would find it; without, the scene at exactly that time. Outside the video its first or last
    frame is repeated.
    """
    times = start_s + np.arange(frames) / fps
    if snap:
        shown = np.searchsorted(scene.frame_times, times + 1e-9, side="right") - 1
        times = scene.frame_times[np.maximum(shown, 0)]
    return render_times(scene, times, scale)


def render_times(scene: Scene, times: NDArray[np.float64], scale: float = 1.0) -> Frames:
    """The frames at `times` (T,) in seconds -> (T, 240 * scale, 320 * scale, 3) uint8 RGB.

    `scale` is 1 over a whole number. Times outside the video give its first or last frame.
    """
    factor = round(1 / scale)
    if abs(factor * scale - 1) > 1e-6:
        raise ValueError(f"scale {scale} is not 1 over a whole number")
    times = np.clip(times, scene.frame_times[0], scene.frame_times[-1])
    backdrop = _Backdrop(scene.background, times, factor)
    states = np.stack([actor.at(times) for actor in scene.actors], axis=1)  # (T, A, 5)
    states[:, :, :3] /= factor
    order = list(range(len(scene.actors)))
    busy_at = [
        (event.start, event.end, {i for i in order if scene.actors[i].name in event.objects})
        for event in scene.events
    ]
    clip = np.empty((len(times), HEIGHT // factor, WIDTH // factor, 3), np.uint8)
    for index, (time, now) in enumerate(zip(times.tolist(), states.tolist(), strict=True)):
        frame = clip[index]
        if index and time == times[index - 1]:
            frame[:] = clip[index - 1]
            continue
        backdrop.paint(frame, index)
        busy = next((who for start, end, who in busy_at if start <= time <= end), set())
        for actor in sorted(order, key=busy.__contains__):
            x, y, radius, angle, opacity = now[actor]
            if opacity > 0:
                look = scene.actors[actor]
                _stamp(frame, look.shape, look.rgb, x, y, radius, angle, opacity, factor)
    return clip


class _Backdrop:
    """A scene's background at one scale, as far as it drifts between the given times."""

    def __init__(self, background: Background, times: NDArray[np.float64], factor: int) -> None:
        lefts = np.floor(background.origin[0] + background.velocity[0] * times).astype(int)
        tops = np.floor(background.origin[1] + background.velocity[1] * times).astype(int)
        self.factor = factor
        corners = np.stack([tops - tops.min(), lefts - lefts.min()], axis=1)
        self.corners: list[list[int]] = corners.tolist()
        grey = texture(background.texture, factor)
        rows = np.arange(tops.min(), tops.max() + HEIGHT) % SIZE
        columns = np.arange(lefts.min(), lefts.max() + WIDTH) % SIZE
        share = np.arange(256)[:, None] / 255.0
        ramp = (1 - share) * np.array(background.dark) + share * np.array(background.light)
        self.tile = np.take(np.round(ramp).astype(np.uint8), grey[rows[:, None], columns], axis=0)

    def paint(self, frame: Frames, index: int) -> None:
        """Fill a frame (h, w, 3) with the backdrop as it is at time number `index`."""
        top, left = self.corners[index]
        factor = self.factor
        frame[:] = self.tile[top : top + HEIGHT : factor, left : left + WIDTH : factor]


def _steps(factor: int) -> int:
    """Sprites' positions and radii are rounded to one over this many of the frame's pixels."""
    return 4 if factor == 1 else 8


def _stamp(
    frame: Frames,
    shape: str,
    rgb: tuple[int, int, int],
    x: float,
    y: float,
    radius: float,
    angle: float,
    opacity: float,
    factor: int,
) -> None:
    """Blend one shape into `frame` (h, w, 3), centred on (x, y) in the frame's own pixels."""
    column, row, steps = math.floor(x), math.floor(y), _steps(factor)
    colour, cover, reach = _sprite(
        shape,
        rgb,
        round(radius * steps),
        0 if shape == "circle" else round((angle % 360.0) / _TURN),
        int((x - column) * steps),
        int((y - row) * steps),
        factor,
    )
    height, width = frame.shape[:2]
    top, left = max(0, row - reach), max(0, column - reach)
    bottom, right = min(height, row + reach + 1), min(width, column + reach + 1)
    if top >= bottom or left >= right:
        return
    cut = (
        slice(top - row + reach, bottom - row + reach),
        slice(left - column + reach, right - column + reach),
    )
    box = frame[top:bottom, left:right]
    if opacity < 1:
        strength = np.uint16(round(opacity * 256))
        keep = 256 - ((256 - cover[cut]).astype(np.uint32) * strength >> 8).astype(np.uint16)
        paint = (colour[cut].astype(np.uint32) * strength >> 8).astype(np.uint16)
    else:
        keep, paint = cover[cut], colour[cut]
    mixed = box * keep
    mixed += paint
    mixed >>= 8
    box[:] = mixed


@lru_cache(maxsize=4096)
def _sprite(
    shape: str,
    rgb: tuple[int, int, int],
    radius_steps: int,
    angle_steps: int,
    x_steps: int,
    y_steps: int,
    factor: int,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], int]:
    """A shape with rim, sheen and shadow, ready to blend.

    Returns the premultiplied paint (S, S, 3) in 0..255 * 256; how much of the backdrop to keep
    (S, S, 3), in 0..256; and the reach in pixels: S = 2 * reach + 1, the centre's pixel in the
    middle.
    """
    steps = _steps(factor)
    radius, angle = radius_steps / steps, angle_steps * _TURN
    shadow_x, shadow_y = _SHADOW[0] / factor, _SHADOW[1] / factor
    reach = math.ceil(bounding_radius(shape, radius) + max(shadow_x, shadow_y)) + 2
    axis = np.arange(-reach, reach + 1, dtype=np.float32) + np.float32(0.5)
    x = axis[None, :] - np.float32((x_steps + 0.5) / steps)
    y = axis[:, None] - np.float32((y_steps + 0.5) / steps)
    edge = signed_distance(shape, x, y, radius, angle)
    below = signed_distance(shape, x - shadow_x, y - shadow_y, radius, angle)
    body = np.minimum(np.maximum(0.5 - edge, 0), 1)
    shadow = np.minimum(np.maximum(0.5 - below / max(1.0, 4.0 / factor), 0), 1)
    shadow *= 0.35 * (1 - body)
    rim = np.minimum(np.maximum(edge / max(1.0, 2.5 / factor) + 1.5, 0), 1)
    light = (1.0 - (x + y) * (0.08 / radius)) * (1 - 0.38 * rim)
    np.minimum(light, 255.0 / max(rgb), out=light)
    light *= 256 * body
    keep = (256 * (1 - body - shadow)).astype(np.uint16)
    paint = (light[..., None] * np.array(rgb, np.float32)).astype(np.uint16)
    return paint, np.repeat(keep[..., None], 3, axis=2), reach
