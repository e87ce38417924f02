"""Opening a video file: the container, its picture stream, the packets that decode."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from vmrtool.addresses import Address
from vmrtool.errors import MediaError
from vmrtool.media.at_hand import at_hand, refuse_quarantined

# A header may claim any size, and memory for a picture is taken before it is decoded. An 8k picture
# has half as many.
MAX_PIXELS = 1 << 26

# What libav can open but nobody would call a video: single pictures, and playlists, which name
# other files that are in the archive themselves.
_PLAYLISTS = frozenset({"hls", "concat", "dash", "imf", "sdp"})
_PICTURES = frozenset({"image2", "ico", "svg_pipe", "apng"})
_LEAVE_OUT: dict[str, Any] = {"stage": "open", "remedy": "Leave it out with --exclude."}


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container of `path` and its first video stream that is not an attached picture.

    Decoding uses one thread a file, so that what a damaged file gives does not depend on timing;
    files are decoded side by side instead.

    Raises:
        MediaError: stage 'open'; no such file, not a video, no picture in it, no decoder.
    """
    refuse_quarantined(path)
    if isinstance(path, Address):
        raise MediaError(
            f"{path}: in a store, and no file of this machine",
            stage="open",
            remedy="Copy it to a folder here, and use that: vmrtool catalog relocate OLD NEW.",
        )
    with at_hand(path), _opened(path) as container:
        name = container.format.name
        if name in _PLAYLISTS:
            raise MediaError(f"{path}: a playlist ({name}), not a video", **_LEAVE_OUT)
        if name in _PICTURES or name.endswith("_pipe"):
            raise MediaError(f"{path}: a still picture ({name}), not a video", **_LEAVE_OUT)
        stream = _picture_stream(path, container)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


def _opened(path: Path) -> Any:
    try:
        # An absolute path is never taken for a protocol ("concat:…"), and only files are read.
        return av.open(path.absolute(), options={"protocol_whitelist": "file"})
    except (FFmpegError, OSError, ValueError) as error:
        raise open_error(path, error) from error


def open_error(path: Path, error: Exception) -> MediaError:
    """What `error` on opening `path` means to its owner."""
    remedy: str | None = "Check that the file is a video and complete, or leave it out."
    if isinstance(error, FileNotFoundError):
        reason, remedy = "no such file", "It was moved or removed: index its folder again."
    elif isinstance(error, PermissionError):
        reason, remedy = "no permission to read it", "Make it readable, or leave it out."
    elif _size(path) == 0:
        reason = "empty file"
    else:
        reason = f"not a video, or damaged ({describe(error)})"
    return MediaError(f"{path}: {reason}", stage="open", remedy=remedy)


def describe(error: Exception) -> str:
    """libav's words for `error`, without its numbers."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def start_of(container: Any) -> float | None:
    """When the player's clock starts, in the container's timestamps; None where it is not said."""
    return None if container.start_time is None else float(container.start_time / 1e6)


def claimed_duration(container: Any) -> float | None:
    """How long the container says it plays, in seconds; None where it does not say."""
    if not container.duration:
        return None
    duration = float(container.duration / 1e6)
    if container.format.name.startswith("matroska"):
        # Matroska writes when it ends, other formats how long they are.
        duration -= start_of(container) or 0.0
    return duration if duration > 0 else None


def decoded_frames(
    container: Any, stream: Any, on_damage: Callable[[Exception], None]
) -> Iterator[Any]:
    """Frames of `stream` in display order, past what is damaged.

    A packet that does not decode costs the pictures up to the next key frame, since those in
    between are predicted from what was lost; so do the few the decoder was still holding.
    `on_damage` is told each time. A container that breaks ends the frames.
    """
    packets = container.demux(stream)
    lost = False
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            # PyAV stumbles over streams that turn up while it reads, once it has given all of ours.
            return
        except (FFmpegError, OSError) as error:
            on_damage(error)
            if not lost:
                with contextlib.suppress(FFmpegError, EOFError):
                    yield from stream.decode(None)
            return
        if lost and not packet.is_keyframe:
            continue
        try:
            frames = packet.decode()
        except (FFmpegError, OSError) as error:
            on_damage(error)
            stream.codec_context.flush_buffers()
            lost = True
            continue
        lost = False
        yield from frames


def _picture_stream(path: Path, container: Any) -> Any:
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        holds = "only a cover picture" if container.streams.video else "no pictures"
        sound = " and sound" if container.streams.audio else ""
        raise MediaError(f"{path}: holds {holds}{sound}, not a video", **_LEAVE_OUT)
    stream = streams[0]
    if stream.codec_context is None:
        raise MediaError(
            f"{path}: no decoder for its video codec",
            stage="open",
            remedy="Convert it, for instance to H.264 in mp4.",
        )
    return stream


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
