"""Seamless grey textures for the demo's backgrounds, made from noise and kept in memory.

Each is a (512, 512) field of uint8 that repeats without a seam. A texture's number fixes it: the
same number gives the same field on every machine, up to the last bit of the FFT.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIZE = 512
VARIETIES = 12


@lru_cache(maxsize=4 * VARIETIES)
def texture(number: int, factor: int = 1) -> NDArray[np.uint8]:
    """Texture `number % VARIETIES`, (512, 512), averaged over boxes of `factor` pixels a side.

    The value at (y, x) is the mean of the box that begins there, so that every `factor`-th value
    of a crop is what shrinking the full-size crop by area would give.
    """
    field = _field(number % VARIETIES).astype(np.float32)
    if factor > 1:
        for axis in (0, 1):
            field = np.mean([np.roll(field, -shift, axis) for shift in range(factor)], axis=0)
    return np.round(field).astype(np.uint8)


@lru_cache(maxsize=VARIETIES)
def _field(variety: int) -> NDArray[np.uint8]:
    """Filtered noise; varieties differ in coarseness, in grain and in direction."""
    rng = np.random.default_rng([20, variety])
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE), indexing="ij")
    stretch = (1.0, 1.0, 6.0)[variety % 3]
    if variety % 2:
        fx, fy = fx * stretch, fy / stretch
    else:
        fx, fy = fx / stretch, fy * stretch
    frequency = np.hypot(fx, fy)
    slope = (1.1, 1.5, 1.9, 2.3)[variety % 4]
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    spectrum *= 1.0 / np.maximum(frequency, 4.0 / SIZE) ** slope
    spectrum *= np.exp(-((frequency / 0.22) ** 2))
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(SIZE, SIZE))
    return np.clip(128 + 52 * field / field.std(), 0, 255).astype(np.uint8)
