"""Recordings, clips and scores through the service, with default options and three seeds each.

As `benchmarks.language`, on archives; error rates are in per cent.
"""

from benchmarks.language import Trial, run_trials

MEDIA_TRIALS = (
    Trial("spoken_digits", "speech", "wer", "WER", 3.0, 1.0, 20, "zip"),
    Trial("digit_strings", "speech", "wer", "WER", 2.0, 0.7, 20, "zip"),
    Trial("yesno_hebrew", "speech", "wer", "WER", 5.0, 0.5, 20, "zip"),
    Trial("read_english", "speech", "wer", "WER", 79.0, 66.0, 20, "zip"),
    Trial("human_actions_depth", "video", "accuracy", "accuracy", 0.75, 0.85, 20, "zip"),
    Trial("moving_digits_direction", "video", "accuracy", "accuracy", 0.90, 0.98, 20, "zip"),
    Trial("jsb_chorales", "music", "nats_per_step", "nats per step", 6.0, 5.5, 20, "zip"),
    Trial("piano_midi", "music", "nats_per_step", "nats per step", 8.2, 7.3, 20, "zip"),
)


if __name__ == "__main__":
    run_trials(MEDIA_TRIALS, "media", __doc__)
