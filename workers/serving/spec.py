"""The configuration that a predictor process reads from its parent, as one JSON line."""

import msgspec

PRESENCE_SECONDS = 1.0  # between two announcements


class PredictorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One predictor: the lane it serves, its device, and its limits."""

    redis_url: str
    storage_url: str
    cache_dir: str
    worker_id: str
    device: str = "cpu"
    lane: str = "default"
    max_batch: int = 64
    memory_bytes: int = 1 << 30  # model files in memory
    disk_bytes: int = 4 << 30  # model files in the cache directory
    hang_seconds: float = 60.0  # a batch that takes longer ends the process
    silent_seconds: float = 15.0  # without a presence while Redis answers, before the process is killed
    start_seconds: float = 60.0  # likewise, before its first presence
