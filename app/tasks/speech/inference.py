"""From a request's recording to the network's input, and from its outputs to a transcript with word times."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from app.arrays import Array, Floats
from app.errors import Invalid, Problem
from app.media.decoder import process_decoder
from app.media.errors import MediaError
from app.media.filterbank import FRAMES_A_SECOND, SHIFT_MS
from app.media.wav import SAMPLE_BYTES, wav_bytes
from app.tasks.contract import Example, with_warnings
from app.tasks.shared.ragged import Ragged
from app.tasks.speech.alignment import align, confidence, words_of
from app.tasks.speech.beam_search import SearchSettings, search
from app.tasks.speech.encoding import MAX_PART_SECONDS, encode_samples, normalize_parts
from app.tasks.speech.features import steps_of
from app.tasks.speech.labels import load_labels
from app.tasks.speech.language_model import load_language_model
from app.tasks.speech.options import KERNEL_STRIDES, SpeechInstance, SpeechParameters
from app.tasks.speech.reading import AUDIO, RATE
from app.typedefs import Json

UPDATE_SECONDS = 0.5  # of audio that is heard before the present part is transcribed anew
MIN_LISTENING_RATE, MAX_LISTENING_RATE = 8_000, 48_000  # Hz
BEST_PATH = SearchSettings(1)
SHORTENED = "The recording ends before its header says; what is there was read."
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # for a part of a character


@dataclass(frozen=True)
class Recording:
    """What `decode` needs to know of an instance."""

    seconds: float
    starts: list[int]  # frames at which the parts begin that are searched one by one
    warnings: Sequence[str] = ()


class SpeechInstances:
    """The clips of a data set as instances, each made when it is requested."""

    def __init__(self, audio: Ragged, rate: int) -> None:
        self._audio, self._rate = audio, rate

    def __len__(self) -> int:
        return len(self._audio)

    def __getitem__(self, index: int) -> SpeechInstance:
        return SpeechInstance(wav_bytes(self._audio[index], self._rate))


def encode_recording(state: Json, instance: SpeechInstance) -> Example:
    """Log-mel frames (time, bins) of a recording; raises `Invalid` where it cannot be decoded."""
    try:
        options = {RATE: state[RATE], "mel_bins": state["mel_bins"]}
        decoded = process_decoder().decode(AUDIO, instance.audio_base64, options)
    except MediaError as error:
        raise Invalid(problems=[Problem("/audio_base64", f"the file {error}")]) from None
    frames, starts = normalize_parts(decoded["energies"], state)
    return Example(frames, Recording(decoded["seconds"], starts, [SHORTENED] if decoded["shortened"] else []))


def search_settings(state: Json, parameters: SpeechParameters) -> SearchSettings:
    """How a request's outputs are searched: as validation chose, or with its own beam."""
    chosen = SearchSettings(**state["search"])
    if parameters.beam_size is None:
        return chosen
    return SearchSettings(parameters.beam_size, chosen.weight, chosen.bonus)


def part_steps(starts: list[int], steps: int, stride: int) -> list[tuple[int, int]]:
    """The steps of each part, whose frames begin at multiples of `stride`."""
    firsts = [start // stride for start in starts]
    return list(zip(firsts, [*firsts[1:], steps], strict=True))


def transcribe(state: Json, outputs: Array, starts: list[int], settings: SearchSettings) -> list[list[int]]:
    """The labels of each part of log-probabilities (steps, labels)."""
    model = load_language_model(state) if settings.weight and settings.beam_size > 1 else None
    parts = part_steps(starts, len(outputs), state["stride"])
    return [search(outputs[first:end], settings, model) for first, end in parts]


def step_times(state: Json, frames: int) -> list[str]:
    """The beginning of each step of so many frames, such as `0.30 s`."""
    return [f"{frame / FRAMES_A_SECOND:.2f} s" for frame in range(0, frames, state["stride"])]


def join_parts(state: Json, parts: list[list[int]]) -> str:
    """The text of the labels of all parts, which begin and end at a pause between words."""
    labels = load_labels(state["labels"])
    texts = (labels.decode(part).strip() for part in parts)
    return " ".join(text for text in texts if text)


class SpeechPieces:
    """Reads the outputs of a causal network for the beginnings of the parts of a recording.

    Such a network writes the beginning of a part in the same way whatever follows. So each second of it is
    asked for, and the best labels of the steps, of which none changes any more, are the text.
    """

    def __init__(self, state: Json, example: Example) -> None:
        self._state, self._example = state, example
        self._labels = load_labels(state["labels"])
        recording: Recording = example.context
        ends = [*recording.starts[1:], len(example.inputs)]
        self.pieces: list[tuple[int, int]] = []
        self._is_whole: list[bool] = []  # of each piece: whether it is a part with its end
        for start, end in zip(recording.starts, ends, strict=True):
            beginnings = range(start + FRAMES_A_SECOND, end, FRAMES_A_SECOND)
            self.pieces += [*((start, middle) for middle in beginnings), (start, end)]
            self._is_whole += [*(False for _ in beginnings), True]
        self._outputs: list[Array] = []  # of whole parts
        self._texts: list[str] = []  # of whole parts
        self._read = self._shown = 0  # pieces, and characters of the text so far
        self.tokens = 0

    def push(self, outputs: Array) -> str:
        """The text that the next piece adds."""
        first, last = self.pieces[self._read]
        is_whole = self._is_whole[self._read]
        outputs = outputs[: steps_of(last - first, self._state["stride"])]
        if not is_whole:  # the last windows of a beginning lack the frames behind it
            outputs = outputs[:-KERNEL_STRIDES]
        (labels,) = transcribe(self._state, outputs, [0], BEST_PATH)
        part = self._labels.decode(labels).strip().rstrip(REPLACEMENT)
        text = " ".join(one for one in (*self._texts, part) if one)
        added, self._shown = text[self._shown :], max(self._shown, len(text))
        self._read += 1
        if is_whole:
            self._outputs.append(outputs)
            self._texts.append(part)
            self.tokens += len(labels)
        return added

    def close(self) -> Json:
        """The prediction that the outputs of all parts mean."""
        outputs = np.concatenate(self._outputs)
        transcribed = transcribe(self._state, outputs, self._example.context.starts, BEST_PATH)
        return as_prediction(self._state, self._example.context, outputs, transcribed)


class WholeRecording:
    """Reads the outputs of a network that reads in both directions: only all of a recording has an answer."""

    def __init__(self, state: Json, example: Example, parameters: SpeechParameters) -> None:
        self._state, self._example = state, example
        self._settings = search_settings(state, parameters)
        self.pieces = [(0, len(example.inputs))]
        self.tokens = 0
        self._prediction: Json = {}

    def push(self, outputs: Array) -> str:
        """The text of the recording."""
        recording: Recording = self._example.context
        outputs = outputs[: steps_of(len(self._example.inputs), self._state["stride"])]  # without padding
        transcribed = transcribe(self._state, outputs, recording.starts, self._settings)
        self.tokens = sum(map(len, transcribed))
        self._prediction = as_prediction(self._state, recording, outputs, transcribed)
        return str(self._prediction["text"])

    def close(self) -> Json:
        """The prediction, as without a stream."""
        return self._prediction


class SpeechListener:
    """Transcribes a recording while it is spoken, part by part; the present part anew every half second.

    A part ends in its quietest place once it is longer than 20 seconds; from then on its text is final.
    """

    def __init__(self, state: Json, parameters: SpeechParameters, rate: int) -> None:
        self._state, self._settings, self._rate = state, search_settings(state, parameters), rate
        self._pcm = bytearray()  # of the present part
        self._unread = self._dropped = 0  # bytes of the present part, and samples of the parts before it
        self._frames, self._is_final = 0, False  # of the input that is being computed
        self._words, self._likely, self._texts = list[Json](), list[float](), list[str]()

    def feed(self, pcm: bytes, *, ended: bool = False) -> Floats | None:
        """Frames (time, bins) of the present part, or None where too little is new.

        Of a long piece only the beginning is read, in which the part ends; ask again for the rest. Raises
        `Invalid` for samples that cannot be resampled.
        """
        self._pcm += pcm
        self._unread += len(pcm)
        count = len(self._pcm) // SAMPLE_BYTES
        if not count or (not ended and self._unread < SAMPLE_BYTES * self._rate * UPDATE_SECONDS):
            return None
        read = min(count, 2 * MAX_PART_SECONDS * self._rate)
        frames, starts = encode_samples(self._samples(read), self._state)
        self._is_final = ended or len(starts) > 1
        is_longer = read < count or len(starts) > 2
        self._unread = len(self._pcm) if is_longer else 0
        self._frames = starts[1] if len(starts) > 1 else len(frames)
        return frames[: self._frames]

    def _samples(self, count: int) -> Array:
        """The first samples of the present part at the model's rate."""
        samples = np.frombuffer(bytes(self._pcm[: SAMPLE_BYTES * count]), "<i2")
        if self._rate == self._state[RATE]:
            return samples
        try:
            content = wav_bytes(samples, self._rate)
            resampled: Array = process_decoder().decode(AUDIO, content, {RATE: self._state[RATE]})["samples"]
        except MediaError as error:
            detail = f"The recording {error}."
            raise Invalid(detail, [Problem("", detail)]) from None
        return resampled

    def push(self, outputs: Array) -> Json:
        """`{"text", "final", "start", "words"}` of the present part; times are those of the recording."""
        start = self._dropped / self._rate
        outputs = outputs[: steps_of(self._frames, self._state["stride"])]
        (labels,) = transcribe(self._state, outputs, [0], self._settings)
        aligned = align(outputs, labels)
        seconds = SHIFT_MS * self._state["stride"] / 1_000
        words = words_of(aligned, load_labels(self._state["labels"]), seconds, start)
        text = join_parts(self._state, [labels])
        if self._is_final:
            self._words += words
            self._likely += [one.log_probability for one in aligned]
            self._texts.append(text)
            self._drop(self._frames * self._rate // FRAMES_A_SECOND)
        return {"text": text, "final": self._is_final, "start": round(start, 3), "words": words}

    def _drop(self, samples: int) -> None:
        """Forget a part that is final."""
        left = len(self._pcm) // SAMPLE_BYTES - samples
        if left < self._rate // FRAMES_A_SECOND:  # less than a frame
            samples += left
        del self._pcm[: SAMPLE_BYTES * samples]
        self._dropped += samples

    def close(self) -> Json:
        """The prediction for the whole recording."""
        text = " ".join(text for text in self._texts if text)
        return {
            "text": text,
            "duration_seconds": round(self._dropped / self._rate, 3),
            "confidence": confidence(self._likely) if text else None,
            "words": self._words,
        }


def open_listener(state: Json, parameters: SpeechParameters, rate: int | None) -> SpeechListener:
    """A listener for samples at a rate, by default the model's own; raises `Invalid`."""
    if rate is not None and not MIN_LISTENING_RATE <= rate <= MAX_LISTENING_RATE:
        detail = f"takes {MIN_LISTENING_RATE:,} to {MAX_LISTENING_RATE:,} Hz"
        raise Invalid(problems=[Problem("/query/sample_rate", detail)])
    return SpeechListener(state, parameters, rate or state[RATE])


def decode_outputs(state: Json, example: Example, outputs: Array, parameters: SpeechParameters) -> Json:
    """The transcript of log-probabilities (steps, labels), with the times and confidence of its words."""
    reader = WholeRecording(state, example, parameters)
    reader.push(outputs)
    return reader.close()


def as_prediction(state: Json, recording: Recording, outputs: Array, transcribed: list[list[int]]) -> Json:
    """The prediction of log-probabilities (steps, labels) and the labels of each part."""
    labels, seconds = load_labels(state["labels"]), SHIFT_MS * state["stride"] / 1_000
    as_words = partial(words_of, labels=labels, step_seconds=seconds)
    words, likely = list[Json](), list[float]()
    bounds = part_steps(recording.starts, len(outputs), state["stride"])
    for part, (first, end) in zip(transcribed, bounds, strict=True):
        aligned = align(outputs[first:end], part)
        words += as_words(aligned, start_seconds=first * seconds)
        likely += [one.log_probability for one in aligned]
    for word in words:
        word["end"] = min(word["end"], round(recording.seconds, 3))
        word["start"] = min(word["start"], word["end"])
    text = join_parts(state, transcribed)
    prediction = {
        "text": text,
        "duration_seconds": round(recording.seconds, 3),
        "confidence": confidence(likely) if text else None,
        "words": words,
    }
    return with_warnings(prediction, recording.warnings)
