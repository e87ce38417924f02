"""What kind of video a file is, without decoding more than a frame of it."""

from dataclasses import dataclass
from pathlib import Path

from vmrtool.errors import MediaError
from vmrtool.media.at_hand import quarantined
from vmrtool.media.container import claimed_duration, decoded_frames, describe, open_video
from vmrtool.media.geometry import Orientation, displayed_size
from vmrtool.media.watch import STALL_S, within

# Names that promise a video. Not here: .ts and .mts, which are as often TypeScript; files of any
# other name are known by their content.
# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".flv", ".f4v", ".wmv", ".asf",
    ".mpg", ".mpeg", ".mpe", ".m2v", ".m2ts", ".vob", ".3gp", ".3g2", ".ogv", ".divx",
    ".rm", ".rmvb", ".mxf", ".ivf", ".y4m", ".h264", ".264", ".h265", ".265", ".hevc",
})
# fmt: on

HEAD = 512
"""Bytes that `begins_as_video` needs."""

_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG programme stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b".RMF",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"DKIF",
    b"YUV4MPEG2",
)
_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"crx ")


@dataclass(frozen=True)
class MediaInfo:
    """Facts of a video file, as its container claims them.

    Attributes:
        container: libav's name of the format, "mov,mp4,…" cut to its first word.
        codec: name of the video codec.
        width: displayed, rotation and pixel shape applied.
        height: displayed.
        rotation: degrees anticlockwise by which stored pictures are turned for display.
        fps: average frame rate, None where it does not say.
        duration_s: None where it does not say.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    fps: float | None
    duration_s: float | None


def probe(path: Path, *, timeout_s: float = STALL_S) -> MediaInfo:
    """The facts of the video at `path`.

    Raises:
        MediaError: stage 'open' for what is no video, 'decode' where not one frame decodes, or
            where libav does not come back within `timeout_s` seconds.
    """
    return within(timeout_s, path, lambda: _probe(path))


def _probe(path: Path) -> MediaInfo:
    with open_video(path) as (container, stream):
        damage: list[Exception] = []
        frame = next(decoded_frames(container, stream, damage.append), None)
        if frame is None:
            reason = describe(damage[0]) if damage else "it holds none"
            raise MediaError(
                f"{path}: not one frame can be decoded: {reason}",
                stage="decode",
                remedy="Check that the file plays, or leave it out with --exclude.",
            )
        orientation = Orientation.of(frame)
        aspect = float(stream.sample_aspect_ratio or 1)
        width, height = displayed_size(frame.width, frame.height, aspect, orientation)
        rate = stream.average_rate or stream.guessed_rate
        return MediaInfo(
            container=container.format.name.split(",")[0],
            codec=stream.codec_context.codec.canonical_name,
            width=width,
            height=height,
            rotation=orientation.rotation,
            fps=float(rate) if rate else None,
            duration_s=claimed_duration(container),
        )


def looks_like_video(path: Path) -> bool:
    """Whether the content of `path` is a video, whatever its name.

    Only files that begin as some video format does are opened; text, pictures and music cost
    one short read. Files that cannot be read are not videos here.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    if not begins_as_video(head):
        return False
    if quarantined(path) is not None:
        return True
    try:
        return within(STALL_S, path, lambda: _opens(path))
    except MediaError as error:
        return error.stage != "open"  # that it hangs is for the run to tell


def _opens(path: Path) -> bool:
    with open_video(path):
        return True


def begins_as_video(head: bytes) -> bool:
    """Whether a file that begins so may be a video, by the marks of video formats."""
    if head.startswith(_MAGIC):
        return True
    if head[4:8] in _QUICKTIME_ATOMS:
        return not (head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    # MPEG transport streams: a sync byte every 188 bytes, or every 192 with time codes.
    return any(
        len(head) > first + 2 * step and all(head[first + i * step] == 0x47 for i in range(3))
        for first, step in ((0, 188), (4, 192))
    )
