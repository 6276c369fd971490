"""The service's settings, read once from the environment by the composition roots."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS_DIR = Path("/run/secrets")
MAX_SOCKET_PATH_BYTES = 100  # a unix socket's path holds 107 bytes on Linux, 103 on macOS


def usable_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Settings(BaseSettings):
    """The variables `RECURRA_*`; a secret may also be a file in /run/secrets with the lower-case name."""

    model_config = SettingsConfigDict(
        env_prefix="RECURRA_",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        frozen=True,
        extra="ignore",
    )

    data_dir: Path = Path(".recurra")
    database_url: str = ""  # empty: SQLite below data_dir
    redis_url: str = ""  # empty: the embedded server below data_dir
    storage_url: str = ""  # empty: a directory below data_dir
    max_upload_bytes: int = Field(default=1 << 30, gt=0)
    max_request_bytes: int = Field(default=64 << 20, gt=0)
    ingest_seconds: float = Field(default=300.0, gt=0)
    log_level: str = "INFO"
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:(0|[1-9][0-9]?))?)$")
    lease_seconds: float = Field(default=60.0, gt=1)
    stall_seconds: float = Field(default=600.0, gt=0)  # without a report of a training before it is killed
    checkpoint_seconds: float = Field(default=30.0, gt=0)  # between checkpoints within an epoch
    cleanup_seconds: float = Field(default=900.0, gt=0)  # between two clean-ups of files without a row
    max_waiting: int = Field(default=4096, gt=0)  # predictions queued in a lane before status 429
    max_queue_seconds: float = Field(default=0.025, gt=0)  # to compute those queued, before status 429
    max_batch: int = Field(default=64, gt=0)  # rows, of all requests, in one forward pass
    training_threads: int = Field(default=min(2, usable_cores()), gt=0)  # to train a wide network on CPUs
    predictors: int = Field(default=usable_cores() // 2 or 1, gt=0)  # of a serving worker without GPUs
    redis_prefix: str = "recurra:"  # of the keys for wake-ups, for a Redis server that is shared
    lane: str = "default"  # name of the prediction lane, for a Redis server that is shared

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'recurra.db'}"

    @property
    def redis(self) -> str:
        """The URL of the Redis server."""
        return self.redis_url or f"unix://{quote(str(self.redis_socket))}"

    @property
    def redis_socket(self) -> Path:
        """The embedded server's socket: below `data_dir`, or in the temp dir when that path is too long."""
        socket = self.data_dir.resolve() / "run" / "valkey.sock"
        if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES:
            return socket
        name = hashlib.sha256(os.fsencode(self.data_dir.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"recurra-{os.getuid()}" / f"{name}.sock"

    @property
    def storage(self) -> str:
        """The URL of the artifact store."""
        return self.storage_url or (self.data_dir.resolve() / "storage").as_uri()
