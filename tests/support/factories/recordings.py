"""Audio files made in a test: tones in all containers, and archives of tones that stand for letters."""

import io
import json
import struct
import zipfile
from typing import Any

import av
import numpy as np
import soundfile

RATE = 8_000
PITCHES = {"a": 300.0, "b": 700.0, "c": 1_500.0, " ": 0.0}  # Hz; a blank is silence


def tone(seconds: float = 0.5, rate: int = RATE, channels: int = 1, pitch: float = 440.0) -> Any:
    """Float samples (frames, channels) of a sine."""
    times = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.4 * np.sin(2 * np.pi * pitch * times)[:, None], channels, axis=1)


def pcm(seconds: float = 0.5, pitch: float = 440.0) -> Any:
    """The same as int16 samples (n,)."""
    return (32_767 * tone(seconds, pitch=pitch)[:, 0]).astype(np.int16)


def written(samples: Any, rate: int = RATE, container: str = "WAV", subtype: str | None = None) -> bytes:
    """Samples as a file that soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def muxed(
    seconds: float = 0.5, rate: int = 16_000, container: str = "ipod", codec: str = "aac", video: bool = False
) -> bytes:
    """A tone as a file that FFmpeg writes; with `video` a black picture alone."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        if video:
            stream: Any = output.add_stream("mpeg4", rate=5)
            stream.width = stream.height = 32
            frames = [av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")]
        else:
            stream = output.add_stream(codec, rate=rate)
            frame: Any = av.AudioFrame.from_ndarray(
                tone(seconds, rate).T.astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = rate
            frames = [frame]
        for one in frames:
            output.mux(stream.encode(one))
        output.mux(stream.encode(None))
    return file.getvalue()


def wav_header(size: int, rate: int = RATE, channels: int = 1, bits: int = 16, align: int = 2) -> bytes:
    """The 44 bytes before the samples, whatever is true of them."""
    described = struct.pack("<HHIIHH", 1, channels, rate, (rate * align) % 2**32, align, bits)
    return (
        b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVEfmt " + struct.pack("<I", 16)
        + described + b"data" + struct.pack("<I", size)
    )  # fmt: skip


def sung(text: str, rng: np.random.Generator, rate: int = RATE) -> Any:
    """A text of `PITCHES` as tones of different lengths with short pauses and some noise, (frames, 1)."""
    parts = [np.zeros((rate // 20, 1))]
    for letter in text:
        seconds = float(rng.uniform(0.08, 0.14))
        parts.append(
            tone(seconds, rate, pitch=PITCHES[letter]) if PITCHES[letter] else tone(seconds, rate) * 0
        )
        parts.append(np.zeros((rate // 25, 1)))
    samples = np.concatenate(parts)
    return samples + rng.normal(0, 0.003, samples.shape)


def texts_of(count: int, rng: np.random.Generator) -> list[str]:
    """Texts of one to three words of one to three letters."""
    return [
        " ".join(
            "".join(rng.choice(list("abc"), int(rng.integers(1, 4)))) for _ in range(int(rng.integers(1, 4)))
        )
        for _ in range(count)
    ]


def archive(entries: dict[str, bytes], manifest: list[dict[str, Any]] | bytes) -> bytes:
    """A zip of files with a manifest: records, or the bytes as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
        lines = "\n".join(json.dumps(line) for line in manifest) if isinstance(manifest, list) else manifest
        packed.writestr("manifest.jsonl", lines)
    return file.getvalue()


def songs(count: int = 60, seed: int = 0) -> bytes:
    """An archive of recordings of texts in several containers, none with a split."""
    rng = np.random.default_rng(seed)
    entries, manifest = {}, []
    containers = [("WAV", None), ("FLAC", None), ("WAV", "ULAW"), ("OGG", "VORBIS")]
    for number, text in enumerate(texts_of(count, rng)):
        container, subtype = containers[number % len(containers)]
        name = f"clips/{number}.{container.lower()}"
        entries[name] = written(sung(text, rng), RATE, container, subtype)
        manifest.append({"audio": name, "text": text})
    return archive(entries, manifest)


def broken_recordings() -> dict[str, bytes]:
    """WAV files whose headers or samples are wrong, by what is."""
    sound = written(tone())[44:]
    return {
        "cut": written(tone())[:20],
        "no samples": wav_header(0),
        "no channels": wav_header(len(sound), channels=0) + sound,
        "255 channels": wav_header(len(sound), channels=255, align=510) + sound,
        "rate 0": wav_header(len(sound), rate=0) + sound,
        "rate 1": wav_header(len(sound), rate=1) + sound,
        "rate 2**32 - 1": wav_header(len(sound), rate=2**32 - 1) + sound,
        "0 bits": wav_header(len(sound), bits=0) + sound,
        "NaN": written(np.array([[0.1], [np.nan]]), RATE, "WAV", "FLOAT"),
        "infinite": written(np.array([[0.1], [-np.inf]]), RATE, "WAV", "DOUBLE"),
    }
