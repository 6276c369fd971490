"""Decodes audio files to mono PCM; runs in the decoding child only."""

import io
import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from app.media.errors import MediaError
from app.media.filterbank import log_mel
from app.media.limits import MediaLimits
from app.media.sniffing import AUDIO, describe_content, detect_container
from app.media.truncation import is_cut_off, riff_chunks

BLOCK_FRAMES = 1 << 14  # that are decoded at a time
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 384_000  # Hz
MAX_CHANNELS = 8
MAX_CHUNKS = 1_000  # of a RIFF file before its samples
PCM_PEAK = 32_767
SOUNDFILE_FORMATS = {"WAV", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC", "OGG", "MP3"}
FFMPEG_FORMATS = {  # by container; where there is none, only soundfile reads it
    "WAV": "wav", "AIFF": "aiff", "AU": "au", "CAF": "caf", "W64": "w64", "FLAC": "flac", "OGG": "ogg",
    "MP3": "mp3", "MP4": "mov", "Matroska": "matroska", "AAC": "aac", "AMR": "amr", "ASF": "asf",
}  # fmt: skip
Samples = npt.NDArray[Any]
Blocks = Iterator[Samples]  # each float32 (frames, channels)


def decode_audio(
    content: Any,
    limits: MediaLimits,
    *,
    sample_rate: int | None = None,
    max_sample_rate: int | None = None,
    mel_bins: int | None = None,
) -> dict[str, Any]:
    """Samples int16 (n,) of all channels' mean at `sample_rate` Hz, and what the file was.

    Without a `sample_rate` it is the file's own, or `max_sample_rate` where that is less. With `mel_bins`
    log-mel energies float32 (frames, bins) take the place of the samples. Raises `MediaError` for what is no
    audio, is damaged, has samples that are no numbers, or is longer than the limit.
    """
    view = memoryview(content)
    container, start = detect_container(view)
    if container not in AUDIO:
        raise MediaError(f"is not audio: it is {describe_content(view)}")
    if container == "WAV":
        check_riff(view)
    stream = io.BytesIO(view[start:])
    blocks, rate, channels = _open(stream, container)
    target = sample_rate or min(rate, max_sample_rate or rate)
    samples = _to_pcm(blocks, rate, target, limits.audio_seconds)
    sound = {"samples": samples} if mel_bins is None else {"energies": log_mel(samples, target, mel_bins)}
    return {
        **sound,
        "sample_rate": target,
        "source_rate": rate,
        "channels": channels,
        "seconds": len(samples) / target,
        "shortened": is_cut_off(view[start:], container),
    }


def _open(stream: io.BytesIO, container: str) -> tuple[Blocks, int, int]:
    """Blocks of samples, their rate and channels; by soundfile, and by FFmpeg what it does not know."""
    if container in SOUNDFILE_FORMATS:
        try:
            return _open_soundfile(stream)
        except soundfile.LibsndfileError:
            stream.seek(0)
    if container not in FFMPEG_FORMATS:
        raise MediaError(f"is damaged, or a kind of {container} that is not known")
    try:
        return _open_ffmpeg(stream, container)
    except (av.FFmpegError, ValueError, StopIteration) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"is damaged, or a kind of {container} that is not known") from None


def _open_soundfile(stream: io.BytesIO) -> tuple[Blocks, int, int]:
    file = soundfile.SoundFile(stream)
    _check_format(file.samplerate, file.channels)

    def blocks() -> Blocks:
        with file:
            while True:
                try:
                    block = file.read(BLOCK_FRAMES, "float32", always_2d=True)  # (frames, channels)
                except soundfile.LibsndfileError:
                    raise MediaError("is damaged: its samples cannot be decoded") from None
                if not len(block):
                    return
                yield block

    return blocks(), file.samplerate, file.channels


def _open_ffmpeg(stream: io.BytesIO, container: str) -> tuple[Blocks, int, int]:
    # Nothing but these bytes is opened: no protocol is allowed, and the format is not FFmpeg's to choose.
    file = av.open(
        stream,
        "r",
        format=FFMPEG_FORMATS[container],
        options={"protocol_whitelist": "none"},
        metadata_errors="ignore",
    )
    if not file.streams.audio:
        file.close()
        raise MediaError("has no audio track")
    frames = file.decode(file.streams.audio[0])
    first = next(frames, None)
    if first is None:
        raise MediaError("has no samples")
    rate, channels = first.sample_rate, len(first.layout.channels)
    _check_format(rate, channels)
    resampler = av.AudioResampler(format="fltp", layout=first.layout, rate=rate)

    def blocks() -> Blocks:
        with file:
            try:
                for frame in chain([first], frames):
                    for planar in resampler.resample(frame):
                        yield planar.to_ndarray().T.astype(np.float32)  # (frames, channels)
            except av.FFmpegError:
                raise MediaError("is damaged: its samples cannot be decoded") from None

    return blocks(), rate, channels


def _check_format(rate: int, channels: int) -> None:
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        bounds = f"{MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} Hz are read"
        raise MediaError(f"has a sample rate of {rate:,} Hz; {bounds}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise MediaError(f"has {channels} channels; 1 to {MAX_CHANNELS} are read")


def _to_pcm(blocks: Blocks, rate: int, target: int, max_seconds: float) -> Samples:
    """Int16 samples (n,) at the target rate; memory is bounded by what is decoded, not by the header."""
    resampler = soxr.ResampleStream(rate, target, 1, dtype="float32") if rate != target else None
    parts, count = [np.zeros(0, np.int16)], 0
    for block in blocks:
        count += len(block)
        if count > max_seconds * rate:
            raise MediaError(f"is longer than {max_seconds:,g} seconds")
        mono = block.mean(axis=1, dtype=np.float32)  # (frames,)
        if not math.isfinite(float(mono.sum(dtype=np.float64))):
            raise MediaError("has samples that are no finite numbers")
        parts.append(_quantize(mono if resampler is None else resampler.resample_chunk(mono)))
    if not count:
        raise MediaError("has no samples")
    if resampler is not None:
        parts.append(_quantize(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    samples = np.concatenate(parts)
    return samples if len(samples) else np.zeros(1, np.int16)  # a sample or two at a higher rate


def _quantize(samples: Samples) -> Samples:
    """Float samples in -1 to 1 as int16; louder ones are clipped."""
    quantized: Samples = np.clip(np.rint(samples * PCM_PEAK), -PCM_PEAK - 1, PCM_PEAK).astype(np.int16)
    return quantized


def check_riff(view: memoryview) -> None:
    """Raise `MediaError` where a RIFF file has far too many chunks before its samples."""
    for number, (kind, _, _) in enumerate(riff_chunks(view)):
        if kind == b"data":
            return
        if number >= MAX_CHUNKS:
            raise MediaError(f"has more than {MAX_CHUNKS:,} chunks before its samples")
