"""What the container itself says, for tests that compare with it."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest


@pytest.fixture
def packet_end() -> Callable[[Path], float]:
    """When the last packet of a video ends, after the container's start, in seconds."""

    def end(path: Path) -> float:
        with av.open(path) as container:
            stream = container.streams.video[0]
            packets = [p for p in container.demux(stream) if p.pts is not None]
            last = max(packet.pts + packet.duration for packet in packets)
            return float(last * stream.time_base) - (container.start_time or 0) / 1e6

    return end
