"""Seconds as people read them."""

import math


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.s, rounded half up to a tenth: 3725.04 -> '1:02:05.0'."""
    tenths = math.floor(seconds * 10 + 0.5)
    whole, tenth = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}.{tenth}"
