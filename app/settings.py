"""The service's settings, read once from the environment by the composition roots."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS = Path("/run/secrets")
SOCKET_BYTES = 100  # a unix socket's path holds 107 bytes on Linux, 103 on macOS


def cores() -> int:
    """Of this machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Settings(BaseSettings):
    """`RECURRA_*` variables; a file of the same lower-case name below /run/secrets serves for secrets."""

    model_config = SettingsConfigDict(
        env_prefix="RECURRA_",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
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
    device: str = "auto"
    lease_seconds: float = Field(default=60.0, gt=1)
    stall_seconds: float = Field(default=600.0, gt=0)  # a training that says nothing for so long is ended
    checkpoint_seconds: float = Field(default=30.0, gt=0)  # between checkpoints within an epoch
    sweep_seconds: float = Field(default=900.0, gt=0)  # between two sweeps for files nobody needs
    max_waiting: int = Field(default=4096, gt=0)  # predictions waiting in a lane before 429
    max_queue_seconds: float = Field(default=0.025, gt=0)  # or what waits there takes so long to compute
    max_batch: int = Field(default=64, gt=0)  # rows, of all requests, in one forward pass
    training_threads: int = Field(default=min(2, cores()), gt=0)  # of a wide network's training on CPUs
    predictors: int = Field(default=cores() // 2 or 1, gt=0)  # of a serving worker; with GPUs, one on each
    redis_prefix: str = "recurra:"  # of the doorbells' keys, for servers that are shared
    lane: str = "default"  # name of the prediction lane, likewise

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'recurra.db'}"

    @property
    def redis(self) -> str:
        """The Redis URL in force."""
        return self.redis_url or f"unix://{quote(str(self.redis_socket))}"

    @property
    def redis_socket(self) -> Path:
        """The embedded server's socket: below `data_dir`, or in the temp dir when that path is too long."""
        socket = self.data_dir.resolve() / "run" / "valkey.sock"
        if len(os.fsencode(socket)) <= SOCKET_BYTES:
            return socket
        name = hashlib.sha256(os.fsencode(self.data_dir.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"recurra-{os.getuid()}" / f"{name}.sock"

    @property
    def storage(self) -> str:
        """The artifact store's URL in force."""
        return self.storage_url or (self.data_dir.resolve() / "storage").as_uri()
