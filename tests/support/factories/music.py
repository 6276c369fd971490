"""MIDI files, made with another library than the one that reads them, and archives of them."""

import io
import json
import zipfile
from collections.abc import Sequence

import mido
import numpy as np

Notes = Sequence[tuple[int, int, int]]  # start and end in ticks, pitch
DIVISION = 480


def midi(
    tracks: Sequence[Notes],
    *,
    velocity: int = 80,
    channels: Sequence[int] | None = None,
    tempo: int = 500_000,
    end: int = 0,
) -> bytes:
    """A file of format 1 with a track for each list of notes, which lasts at least to the tick `end`."""
    file = mido.MidiFile(type=1, ticks_per_beat=DIVISION)
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo, time=0)]))
    for number, notes in enumerate(tracks):
        channel = channels[number] if channels else number
        events = [(start, 1, "note_on", pitch) for start, _, pitch in notes]
        events += [(stop, 0, "note_off", pitch) for _, stop, pitch in notes]
        track, now = mido.MidiTrack(), 0
        for tick, _, kind, pitch in sorted(events):
            message = mido.Message(kind, note=pitch, velocity=velocity, channel=channel, time=tick - now)
            track.append(message)
            now = tick
        track.append(mido.MetaMessage("end_of_track", time=max(end - now, 0)))
        file.tracks.append(track)
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def chorale(seed: int, chords: int = 16) -> bytes:
    """Four voices that move by steps of a scale, a quarter note each; a note that stays is held."""
    rng = np.random.default_rng(seed)
    scale = [pitch for pitch in range(36, 96) if pitch % 12 in (0, 2, 4, 5, 7, 9, 11)]
    places = np.array([22, 18, 15, 10])
    voices: list[list[tuple[int, int, int]]] = [[], [], [], []]
    for beat in range(chords):
        places = np.clip(places + rng.integers(-1, 2, 4), 2, len(scale) - 1)
        for voice, place in zip(voices, places.tolist(), strict=True):
            pitch, start = scale[place], beat * DIVISION
            if voice and voice[-1][2] == pitch:
                voice[-1] = (voice[-1][0], start + DIVISION, pitch)
            else:
                voice.append((start, start + DIVISION, pitch))
    return midi(voices)


def performance(seed: int, notes: int = 40) -> bytes:
    """One track of notes that begin and end off any grid."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.integers(20, 300, notes))
    lengths = rng.integers(30, 600, notes)
    pitches = 60 + np.cumsum(rng.integers(-2, 3, notes)) % 24
    rows = zip(starts.tolist(), (starts + lengths).tolist(), pitches.tolist(), strict=True)
    return midi([_without_overlap(list(rows))], velocity=int(rng.integers(40, 100)))


def _without_overlap(notes: list[tuple[int, int, int]]) -> Notes:
    """The notes, each ended where its pitch begins again."""
    return [
        (start, min([end, *(other for other, _, same in notes if same == pitch and other > start)]), pitch)
        for start, end, pitch in notes
    ]


def archive(files: dict[str, bytes], manifest: Sequence[object] | str | None = None) -> bytes:
    """A zip of files, with a manifest where one is given: objects, or its text."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        if manifest is not None:
            text = (
                manifest if isinstance(manifest, str) else "".join(json.dumps(row) + "\n" for row in manifest)
            )
            zipped.writestr("manifest.jsonl", text)
        for name, content in files.items():
            zipped.writestr(name, content)
    return out.getvalue()


def chorales(count: int = 12) -> bytes:
    """An archive of chorales without a manifest."""
    return archive({f"chorale {number}.mid": chorale(number) for number in range(count)})


def performances(count: int = 8) -> bytes:
    """An archive of performances with a manifest that names their splits."""
    splits = ["test", "valid", *["train"] * (count - 2)]
    rows = [{"midi": f"{number}.midi", "split": split} for number, split in enumerate(splits)]
    return archive({f"{number}.midi": performance(number) for number in range(count)}, rows)
