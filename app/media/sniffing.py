"""What a media file is by its first bytes; names and extensions say nothing."""

import re
from typing import Any

ID3 = b"ID3"
ID3_HEADER_BYTES = 10
HEAD_BYTES = 4_096
UNPACK = "send what it holds"
AUDIO = {
    "WAV", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC", "OGG", "MP3", "MP4", "Matroska", "AAC", "AMR", "ASF",
}  # fmt: skip
# Of the containers of sound only the kind is read, for a message; some of videos are not known here.
VIDEO = {"MP4", "Matroska", "ASF", "OGG", "WAV", "an AVI video", "a GIF image", ""}
MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"RIFF....WAVE", "WAV"),
        (rb"(RF64|BW64)....WAVE", "RF64"),
        (rb"RIFX....WAVE", "WAV"),
        (rb"FORM....AIF[FC]", "AIFF"),
        (rb"\.snd|dns\.", "AU"),
        (rb"caff", "CAF"),
        (rb"riff\x2e\x91\xcf\x11", "W64"),
        (rb"fLaC", "FLAC"),
        (rb"OggS", "OGG"),
        (rb"....(ftyp|moov|mdat|wide|free|skip)", "MP4"),
        (rb"\x1a\x45\xdf\xa3", "Matroska"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC"),
        (rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "MP3"),
        (rb"#!AMR", "AMR"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
        (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
        (rb"\xff\xd8\xff", "a JPEG image"),
        (rb"GIF8[79]a", "a GIF image"),
        (rb"RIFF....AVI ", "an AVI video"),
        (rb"RIFF....WEBP", "a WebP image"),
        (rb"MThd", "a MIDI file"),
        (rb"RIFF....RMID", "a MIDI file within RIFF"),
        (rb"%PDF", "a PDF document"),
        (rb"PK[\x03\x05]", "a zip archive"),
        (rb"\x1f\x8b", f"a file compressed by gzip; {UNPACK}"),
        (rb"BZh[1-9]1AY&SY", f"a file compressed by bzip2; {UNPACK}"),
        (rb"\xfd7zXZ\x00", f"a file compressed by xz; {UNPACK}"),
        (rb"\x28\xb5\x2f\xfd", f"a file compressed by Zstandard; {UNPACK}"),
        (rb"\s*(#EXTM3U|ffconcat)", "a playlist"),
        (rb"\s*<(!doctype html|html|head|body)", "an HTML page"),
        (rb"\s*<\?xml|\s*<svg", "an XML document"),
        (rb"\x7fELF|MZ", "a program"),
    )
)


def detect_container(content: Any) -> tuple[str, int]:
    """The name of a file's container, or what else it is, and where it begins behind an ID3 tag.

    An empty name: unknown. A tag, which may hold pictures, is not read.
    """
    start = 0
    while bytes(content[start : start + 3]) == ID3 and len(content) >= start + ID3_HEADER_BYTES:
        size = 0
        for byte in bytes(content[start + 6 : start + ID3_HEADER_BYTES]):
            size = size << 7 | byte & 0x7F
        start += ID3_HEADER_BYTES + size
    head = bytes(content[start : start + HEAD_BYTES])
    lowered = head[:64].lower()
    for pattern, name in MAGIC:
        if pattern.match(head) or (name == "an HTML page" and pattern.match(lowered)):
            return name, start
    return "", start


def describe_content(content: Any) -> str:
    """What a file is, for a message: "a PNG image", "empty", "text" or "of an unknown kind"."""
    name, start = detect_container(content)
    head = bytes(content[start : start + HEAD_BYTES])
    if not head:
        return "an ID3 tag without anything behind it" if start else "empty"
    if name:
        return name if name.startswith(("a ", "an ")) else f"a file in {name} format"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "of an unknown kind"
    return "of an unknown kind" if b"\0" in head else "text"
