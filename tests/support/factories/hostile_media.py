"""Media files that are hostile, and ordinary ones that are easily broken, as uploads and as instances."""

import base64
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np

from tests.support.factories import music
from tests.support.factories.clips import encode, moving_square, sound
from tests.support.factories.hostile_archives import MANIFEST, MUSIC, SPEECH, VIDEO, Case, Kind
from tests.support.factories.recordings import RATE, broken_recordings, muxed, tone, wav_header, written
from tests.support.factories.zips import pack

Files = dict[str, bytes]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
HTML = b"<!DOCTYPE html><html><body>no</body></html>"
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
PCM = written(tone())[44:]
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"  # a quarter note
TRACK_END = b"\x00\xff\x2f\x00"
TRACK = NOTE * 120 + TRACK_END
FLAC_HOUR = written(np.zeros((RATE * 3_600, 1), np.int16), RATE, "FLAC")


def recordings_to_refuse() -> Files:
    """Files that are no audio, or none that can be decoded within the limits."""
    return {
        "an hour": FLAC_HOUR,
        "eight channels for eleven minutes": written(np.zeros((4_000 * 661, 8), np.int16), 4_000, "FLAC"),
        **broken_recordings(),
        "many chunks": wav_header(0)[:36] + (b"LIST" + struct.pack("<I", 4) + b"abcd") * 200_000 + b"data",
        "HTML": HTML,
        "a picture": PNG,
        "MIDI": MUSIC.content,
        "a video without sound": muxed(container="mp4", video=True),
        "a playlist": PLAYLIST,
        "an ID3 tag without end": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + written(tone(), RATE, "MP3"),
        "empty": b"",
    }


def clips_to_refuse() -> Files:
    """Files that are no video, or none that can be decoded within the limits."""
    good, moov = VIDEO.content, VIDEO.content.index(b"moov") - 4
    start = good.index(b"mdat") + 4
    return {
        "only sound": sound(),
        "sound in a WAV file": sound(container="wav", codec="pcm_s16le"),
        "cut before its index": good[:moov],
        "no frames": good[:start] + bytes(moov - start) + good[moov:],
        "no samples": good[:moov].replace(b"mdat", b"free") + good[moov:].replace(b"stsz", b"free"),
        "67 megapixels": encode([np.zeros((8_190, 8_190, 3), np.uint8)], codec="mjpeg", pixels="yuvj420p"),
        "2,100 frames": encode([np.zeros((16, 16, 3), np.uint8)] * 2_100),
        "HTML": HTML,
        "a picture": PNG,
        "an MP3 file": written(tone(), RATE, "MP3"),
        "MIDI": MUSIC.content,
        "a playlist": PLAYLIST,
        "a list for concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "a session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 6379 x\n",
        "garbage": np.random.default_rng(0).bytes(50_000),
        "empty": b"",
    }


def midi_file(*tracks: bytes, form: int = 1, division: int = 480) -> bytes:
    """A file of these tracks' events."""
    chunks = (b"MTrk" + struct.pack(">I", len(events)) + events for events in tracks)
    return b"MThd" + struct.pack(">IHHH", 6, form, len(tracks), division) + b"".join(chunks)


def scores_to_refuse() -> Files:
    """Files that are no MIDI files, or have no music."""
    return {
        "1.2 million events": midi_file(b"\x00\x90\x3c\x40" + b"\x00\x3c\x40" * 1_200_000 + TRACK_END),
        "a long header": b"MThd\xff\xff\xff\xff" + bytes(20),
        "65,535 tracks": b"MThd" + struct.pack(">IHHH", 6, 1, 65_535, 480) + b"MTrk\0\0\0\0" * 65_535,
        "division 0": midi_file(TRACK, division=0),
        "SMPTE": midi_file(TRACK, division=0x8000),
        "format 7": midi_file(TRACK, form=7),
        "a long delta": midi_file(b"\xff\xff\xff\xff\x7f" + TRACK),
        "tempo 0": midi_file(b"\x00\xff\x51\x03\x00\x00\x00" + TRACK),
        "days": midi_file(b"\x00\xff\x51\x03\xff\xff\xff" + b"\xff\xff\xff\x7f\x90\x3c\x40" + TRACK_END),
        "a long sysex": midi_file(b"\x00\xf0\xbf\xff\xff\x7f\x01"),
        "no notes": midi_file(TRACK_END),
        "no tracks": midi_file(),
        "HTML": HTML,
        "a picture": PNG,
        "a recording": SPEECH.content,
        "empty": b"",
    }


def ordinary_recordings() -> Files:
    """Files of half a second that must be decoded."""
    frame = bytes((200_000 >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return {
        "mu-law": written(tone(), RATE, "WAV", "ULAW"),
        "24 bits": written(tone(rate=44_100), 44_100, "WAV", "PCM_24"),
        "96 kHz": written(tone(rate=96_000), 96_000, "WAV", "FLOAT"),
        "stereo": written(tone(channels=2), RATE),
        "FLAC": written(tone(rate=44_100, channels=2), 44_100, "FLAC"),
        "Vorbis": written(tone(), RATE, "OGG", "VORBIS"),
        "Opus": written(tone(rate=48_000), 48_000, "OGG", "OPUS"),
        "MP3": written(tone(rate=44_100), 44_100, "MP3"),
        "a picture in an MP3": b"ID3\x04\0\0" + frame + bytes(200_000) + written(tone(), 44_100, "MP3"),
        "M4A": muxed(),
        "WebM": muxed(rate=48_000, container="webm", codec="libopus"),
        "ten hours by its header": wav_header(1_150_000_000) + PCM,
        "streamed": wav_header(2**32 - 1) + PCM,
    }


def ordinary_clips() -> Files:
    """Files of odd sizes, codecs, stamps and one frame that must be decoded."""
    frames = moving_square(right=False, count=8)
    odd = [np.full((97, 113, 3), 20 * number, np.uint8) for number in range(8)]
    files = {
        "H.264 with B-frames": encode(frames, codec="libx264"),
        "an odd size": encode(odd, codec="libx264", pixels="yuv444p"),
        "MPEG-4 in AVI": encode(frames, container="avi"),
        "VP9 in WebM": encode(frames, container="webm", codec="libvpx-vp9"),
        "a varying rate": encode(frames, stamps=[0, 1, 2, 50, 51, 400, 401, 402]),
        "a million frames a second": encode(
            frames, rate=10**6, codec="mjpeg", container="matroska", pixels="yuvj420p"
        ),
        "a GIF": encode(frames, container="gif", codec="gif", pixels="rgb8"),
        "one frame": encode(frames[:1]),
        "two streams": _two_streams(frames),
    }
    entry = VIDEO.content.index(b"mp4v") + 4 + 24  # of the sample description: width and height follow
    lying = VIDEO.content[:entry] + struct.pack(">2H", 65_535, 65_535) + VIDEO.content[entry + 4 :]
    return files | {"a size that is not its own": lying}


def _two_streams(frames: Sequence[Any]) -> bytes:
    """A file in which a second stream has larger frames."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as output:
        streams: list[Any] = [output.add_stream("mpeg4", rate=12) for _ in range(2)]
        for stream, scale in zip(streams, (1, 2), strict=True):
            stream.height, stream.width = (scale * side for side in frames[0].shape[:2])
            stream.pix_fmt = "yuv420p"
        for stream, scale in zip(streams, (1, 2), strict=True):
            for number, pixels in enumerate(frames):
                large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
                frame = av.VideoFrame.from_ndarray(large, format="rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
    return out.getvalue()


def ordinary_scores() -> Files:
    """Files that are odd and must be read; each has a hundred notes and more."""
    running = b"\x00\x90\x3c\x40" + b"\x10\x3c\x00\x00\x3c\x40" * 120 + b"\x10\x3c\x00" + TRACK_END
    drums = b"\x00\x99\x24\x40\x10\x89\x24\x40" * 120 + TRACK_END
    many = b"".join(bytes((0, 0x90, pitch, 64)) for pitch in range(128)) + TRACK_END
    return {
        "format 0 with running status": midi_file(running, form=0),
        "several channels": midi_file(
            NOTE * 60 + NOTE.replace(b"\x90", b"\x91").replace(b"\x80", b"\x81") * 60
        ),
        "drums": midi_file(drums),
        "128 notes at once that never end": midi_file(many),
        "a note that ends first": midi_file(b"\x00\x80\x3e\x40" + TRACK),
        "changes of tempo": midi_file(b"\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x51\x03\x00\x00\x01", TRACK),
        "breaks off": MUSIC.content[:-30],
        "a performance": music.performance(1, 200),
    }


def hostile_media() -> Iterator[Case]:
    """An archive with each file that must be refused, among good ones; and contents that do not fit."""
    for kind, files in (
        (SPEECH, recordings_to_refuse()),
        (VIDEO, clips_to_refuse()),
        (MUSIC, scores_to_refuse()),
    ):
        for name, content in files.items():
            body = pack(kind.files() | {kind.names()[0]: content}, 0)
            yield Case(f"{kind.task}: {name}", kind.task, body, kind.row())
    yield from _bad_texts()
    yield from _bad_labels()
    test = [line | {"split": "test"} for line in MUSIC.lines()]
    yield _changed(MUSIC, "all for the test", test, "/file/column/split")


def _changed(kind: Kind, name: str, lines: Sequence[Any], pointer: str) -> Case:
    files = {**dict.fromkeys(kind.names(), kind.content), MANIFEST: kind.manifest(*lines)}
    return Case(f"{kind.task}: {name}", kind.task, pack(files), pointer)


def _bad_texts() -> Iterator[Case]:
    first, text = SPEECH.lines()[0], "/file/row/1/column/text"
    for name, value in {
        "a long text": "a" * 100_000,
        "a NUL": "a\0b",
        "half a character": "\ud800",
        "null": None,
        "a list": ["a"],
    }.items():
        yield _changed(SPEECH, f"the text {name}", [first | {"text": value}], text)
    without = {name: value for name, value in first.items() if name != "text"}
    yield _changed(SPEECH, "one line without a text", [without], text)
    yield _changed(
        SPEECH, "empty texts", [line | {"text": ""} for line in SPEECH.lines()], "/file/column/text"
    )


def _bad_labels() -> Iterator[Case]:
    first, lines = VIDEO.lines()[0], VIDEO.lines()
    column = "/file/row/1/column/label"
    for value in ("x" * 1_000_000, 1, None, {"a": 1}, "", "a\0"):
        yield _changed(VIDEO, f"the label {str(value)[:9]!r}", [first | {"label": value}], column)
    yield _changed(VIDEO, "one label", [line | {"label": "left"} for line in lines], "/file/column/label")
    alone = [line | {"label": str(number)} for number, line in enumerate(lines)]
    yield _changed(VIDEO, "a label for each clip", alone, "/file")
    test = [line | {"split": "test"} for line in lines]
    yield _changed(VIDEO, "all for the test", test, "/file/column/split")


def ordinary_media() -> Iterator[Case]:
    """An archive of good files and one that is easily broken, for each of these."""
    for kind, files in (
        (SPEECH, ordinary_recordings()),
        (VIDEO, ordinary_clips()),
        (MUSIC, ordinary_scores()),
    ):
        for name, content in files.items():
            body = pack(kind.files() | {kind.names()[0]: content}, 0)
            yield Case(f"{kind.task}: {name}", kind.task, body, "", 201)
    odd = ("\U0001f600", "\u202eab", "a\x07")
    emoji = [line | {"text": text} for line, text in zip(SPEECH.lines(), odd, strict=False)]
    yield _changed(SPEECH, "odd characters", emoji, "")._replace(status=201)
    untold = b"\n".join(b'{"audio": "%s"}' % name.encode() for name in SPEECH.names())
    files = dict.fromkeys(SPEECH.names(), SPEECH.content) | {MANIFEST: untold}
    yield Case("speech: no texts at all", "speech", pack(files), "", 201)
    plain = dict.fromkeys((f"{name}.mid" for name in MUSIC.names()), MUSIC.content)
    yield Case("music: without a manifest", "music", pack(plain), "", 201)


class Question(NamedTuple):
    """A prediction and the answer that it must get; several statuses where it depends on the load."""

    name: str
    task: str
    body: dict[str, Any]
    pointer: str = ""
    status: int = 422


def _instance(kind: Kind, content: bytes | str) -> dict[str, str]:
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return {f"{kind.column}_base64": text}


def hostile_questions() -> Iterator[Question]:
    """Instances that must be refused, one of them among good ones; and parameters out of their range."""
    for kind, files in (
        (SPEECH, recordings_to_refuse()),
        (VIDEO, clips_to_refuse()),
        (MUSIC, {name: one for name, one in scores_to_refuse().items() if one}),  # nothing is a beginning
    ):
        good, field = _instance(kind, kind.content), f"/instances/1/{kind.column}_base64"
        for name, content in files.items():
            instances = [good, _instance(kind, content), good]
            yield Question(f"{kind.task}: {name}", kind.task, {"instances": instances}, field)
        text = good[f"{kind.column}_base64"]
        for name, spoiled in {
            "not base64": "not base64!",
            "for addresses": "-_-_" + text,
            "blanks": text[:40] + "\n" + text[40:],
            "a data URL": f"data:audio/wav;base64,{text}",
        }.items():
            instances = [good, _instance(kind, spoiled)]
            yield Question(f"{kind.task}: {name}", kind.task, {"instances": instances}, field)
        yield Question(f"{kind.task}: none", kind.task, {"instances": []}, "/instances")
    for name, values in {"seconds": (0, -1, 1e9), "temperature": (-1, 1e9), "top_p": (-1, 2)}.items():
        for value in values:
            body = {"instances": [{}], "parameters": {name: value}}
            yield Question(f"music: {name} {value}", "music", body, f"/parameters/{name}")


def ordinary_questions() -> Iterator[Question]:
    """Instances that must be answered."""
    short = {
        "10 ms": written(tone(0.01), RATE),
        "a sample": written(tone(1 / RATE), RATE),
        "silence": written(np.zeros((RATE, 1)), RATE),
        "noise": written(np.random.default_rng(0).normal(0, 0.2, (RATE, 1)), RATE),
        "ten minutes": written(np.zeros((RATE * 599, 1), np.int16), RATE, "FLAC"),
    }
    for kind, files in (
        (SPEECH, ordinary_recordings() | short),
        (VIDEO, ordinary_clips()),
        (MUSIC, ordinary_scores()),
    ):
        for name, content in files.items():
            body: dict[str, Any] = {"instances": [_instance(kind, content)]}
            if kind is MUSIC:
                body["parameters"] = {"seconds": 0.5, "temperature": 0}
            yield Question(f"{kind.task}: {name}", kind.task, body, "", 200)
