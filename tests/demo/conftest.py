from dataclasses import replace

import numpy as np
import pytest

from vmrtool.demo.queries import queries_for_archive
from vmrtool.demo.scenes import Background, plan_video

SEEDS = (0, 11, 2024)


@pytest.fixture(scope="session")
def plans():
    """Three planned archives of 30 videos: seed -> scenes."""
    return {seed: [plan_video(seed, index) for index in range(30)] for seed in SEEDS}


@pytest.fixture(scope="session")
def asked(plans):
    """Their queries: seed -> a list for each video."""
    return {seed: queries_for_archive(seed, scenes) for seed, scenes in plans.items()}


@pytest.fixture(scope="session")
def silhouettes():
    """Where the named objects of a scene are seen: (T, 120, 160) bool, on a black backdrop."""
    from vmrtool.demo.render import render_times

    def render(scene, names, times):
        black = Background(0, (0, 0, 0), (0, 0, 0), (0.0, 0.0), (0.0, 0.0))
        actors = tuple(actor for actor in scene.actors if actor.name in names)
        alone = replace(scene, background=black, actors=actors)
        return render_times(alone, np.asarray(times, dtype=float), 0.5).max(axis=3)

    return render
