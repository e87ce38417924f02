import itertools

import numpy as np
import pytest

from vmrtool.demo.render import render_clip, render_frame
from vmrtool.demo.scenes import plan_video


def test_shapes_and_determinism(plans):
    scene = plans[0][2]
    frame = render_frame(scene, 3.0)
    assert frame.shape == (240, 320, 3) and frame.dtype == np.uint8
    assert np.array_equal(frame, render_frame(plan_video(0, 2), 3.0))
    clip = render_clip(scene, 3.0, frames=8)
    assert clip.shape == (8, 60, 80, 3) and clip.dtype == np.uint8
    assert not np.array_equal(frame, render_frame(plans[11][2], 3.0))


def test_a_small_frame_looks_like_a_large_one_shrunk(plans):
    for scene in plans[0][:6]:
        time = (scene.events[0].start + scene.events[0].end) / 2
        large = render_frame(scene, time).astype(float)
        shrunk = large.reshape(60, 4, 80, 4, 3).mean(axis=(1, 3))
        assert np.abs(render_frame(scene, time, 0.25) - shrunk).mean() < 2.5


def test_clips_repeat_the_ends(plans):
    scene = plans[0][0]
    clip = render_clip(scene, scene.duration_s - 0.5, frames=24)
    assert np.array_equal(clip[-1], clip[14])
    assert not np.array_equal(clip[0], clip[-1])
    assert np.array_equal(clip[-1], render_frame(scene, 1e6, 0.25))
    early = render_clip(scene, -1.0, frames=24)
    assert np.array_equal(early[0], early[23])
    assert np.array_equal(early[0], render_frame(scene, -5.0, 0.25))


def test_clips_show_the_frames_of_the_file(plans):
    scene = next(s for s in plans[0] if s.rate == 15)
    start = scene.events[0].start + 0.5
    clip = render_clip(scene, start, frames=24, fps=30.0)
    changes = sum(not np.array_equal(a, b) for a, b in itertools.pairwise(clip))
    assert changes <= 12
    exact = render_clip(scene, start, frames=2, snap=False)
    assert np.array_equal(exact[0], render_frame(scene, start, 0.25))


def test_backdrops_are_textured_and_muted(plans):
    for scene in plans[2024]:
        frame = render_frame(scene, 0.0).astype(int)
        grey = np.median(frame, axis=2)
        assert grey.std() > 6
        background = np.array([scene.background.dark, scene.background.light])
        assert np.ptp(background, axis=1).max() <= 45


def test_backdrops_drift_slowly(plans):
    for scene in plans[2024]:
        assert 2 <= np.hypot(*scene.background.velocity) <= 7


def test_other_scales_are_refused(plans):
    with pytest.raises(ValueError, match="whole number"):
        render_frame(plans[0][0], 0.0, 0.4)
