"""The service's settings, read once from the environment by the composition roots."""

import hashlib
import ipaddress
import os
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.memory import usable_memory
from app.patterns import DEVICE_PATTERN, HOST_NAME_PATTERN, PAGE_URL_PATTERN, WEBHOOK_HOST_PATTERN

SECRETS_DIR = Path("/run/secrets")
KEYS, OFF = "keys", "off"  # values of `auth`
REDIS_SOCKET = "valkey.sock"
CPU_MAX = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of a container, version 2 of control groups: a quota and its period
CFS_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")  # and version 1
CFS_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
MAX_SOCKET_PATH_BYTES = 100  # a unix socket's path holds 107 bytes on Linux, 103 on macOS


def usable_cores() -> int:
    """Return how many CPU cores this process may use: of a container's limit the whole ones, at least one."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, period = _quota_and_period()
    return min(cores, max(1, quota // period)) if quota > 0 and period > 0 else cores


def _quota_and_period() -> tuple[int, int]:
    """Microseconds of processor time in a period, and of the period; not above 0 where nothing is limited."""
    with suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = map(int, CPU_MAX.read_text().split())
        return quota, period
    with suppress(OSError, ValueError):
        return int(CFS_QUOTA.read_text()), int(CFS_PERIOD.read_text())
    return 0, 0


def _split(texts: str) -> tuple[str, ...]:
    """The texts between commas."""
    return tuple(filter(None, map(str.strip, texts.split(","))))


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
    auth: str = Field(default=OFF, pattern=f"^({KEYS}|{OFF})$")  # whether requests need a key
    page_url: str = Field(
        default="", pattern=PAGE_URL_PATTERN
    )  # of the page for people; empty: there is none
    allowed_hosts: str = ""  # names with commas between; loopback names and IP addresses always are
    webhook_hosts: str = ""  # host or host:port, with commas between, that webhooks may be sent to; none
    webhook_networks: str = ""  # such as 10.0.0.0/8: not public ones, in which those hosts may be
    max_connections: int = Field(default=4096, gt=0)  # of one API process
    max_client_connections: int = Field(default=1024, gt=0)  # of them, from one address
    max_upload_bytes: int = Field(default=1 << 30, gt=0)
    max_request_bytes: int = Field(default=64 << 20, gt=0)
    ingest_seconds: float = Field(default=300.0, gt=0)
    ingest_memory_bytes: int = Field(default=usable_memory() // 2, ge=256 << 20)  # of all files being read
    archive_members: int = Field(default=100_000, gt=0)
    archive_name_bytes: int = Field(default=256, gt=0)
    archive_member_bytes: int = Field(default=1 << 30, gt=0)  # unpacked
    archive_total_bytes: int = Field(default=8 << 30, gt=0)  # unpacked, of all members
    archive_ratio: int = Field(default=200, gt=0)  # of unpacked to packed bytes
    archive_ratio_free_bytes: int = Field(default=1 << 20, ge=0)  # what is not larger may have any ratio
    archive_manifest_bytes: int = Field(default=64 << 20, gt=0)
    archive_manifest_line_bytes: int = Field(default=1 << 20, gt=0)
    media_file_bytes: int = Field(default=128 << 20, gt=0)
    media_seconds: float = Field(default=30.0, gt=0, le=3_600)  # of a processor, to decode one file
    media_memory_bytes: int = Field(default=1 << 30, ge=64 << 20)  # to decode one file
    media_audio_seconds: float = Field(default=600.0, gt=0, le=86_400)
    media_frame_pixels: int = Field(default=64_000_000, gt=0, lt=1 << 31)
    media_frames: int = Field(default=2_000, gt=0)  # of a clip, that are decoded
    media_midi_events: int = Field(default=1_000_000, gt=0)
    log_level: str = "INFO"
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    lease_seconds: float = Field(default=60.0, gt=1)
    stall_seconds: float = Field(default=600.0, gt=0)  # without a report of a training before it is killed
    checkpoint_seconds: float = Field(default=30.0, gt=0)  # between checkpoints within an epoch
    cleanup_seconds: float = Field(default=900.0, gt=0)  # between two clean-ups of files without a row
    max_waiting: int = Field(default=4096, gt=0)  # predictions queued in a lane before status 429
    max_queue_seconds: float = Field(default=0.1, gt=0)  # to compute those queued, before status 429
    max_batch: int = Field(default=64, gt=0)  # rows, of all requests, in one forward pass
    training_threads: int = Field(default=min(2, usable_cores()), gt=0)  # to train a wide network on CPUs
    training_memory_bytes: int = Field(default=3 * usable_memory() // 4, ge=64 << 20)  # of a job's process
    mlflow_uri: str = ""  # of a tracking server that is told of trainings; empty: none
    predictors: int = Field(default=usable_cores() // 2 or 1, gt=0)  # of a serving worker without GPUs
    redis_prefix: str = "recurra:"  # of the keys for wake-ups, for a Redis server that is shared
    lane: str = "default"  # name of the prediction lane, for a Redis server that is shared

    @field_validator("allowed_hosts")
    @classmethod
    def _check_host_names(cls, names: str) -> str:
        for name in _split(names):
            if not re.match(HOST_NAME_PATTERN, name):
                raise ValueError(f"{name!r} is no host name, such as api.example.com or *.example.com")
        return names

    @field_validator("webhook_hosts")
    @classmethod
    def _check_webhook_hosts(cls, hosts: str) -> str:
        for host in _split(hosts):
            if not re.fullmatch(WEBHOOK_HOST_PATTERN, host):
                raise ValueError(f"{host!r} is no host, such as hooks.example.com or 127.0.0.1:9000")
        return hosts

    @field_validator("webhook_networks")
    @classmethod
    def _check_webhook_networks(cls, networks: str) -> str:
        for network in _split(networks):
            ipaddress.ip_network(network)
        return networks

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names of `allowed_hosts`."""
        return _split(self.allowed_hosts)

    @property
    def webhook_targets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The hosts that webhooks may be sent to, and the networks in which these may be."""
        return _split(self.webhook_hosts), _split(self.webhook_networks)

    def limits(self, kind: str) -> dict[str, Any]:
        """The settings of limits of one kind, archive or media, by their names without it."""
        prefix = f"{kind}_"
        names = [name for name in type(self).model_fields if name.startswith(prefix)]
        return {name.removeprefix(prefix): getattr(self, name) for name in names}

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
        return Path(self.socket_prefix(len(REDIS_SOCKET)) + REDIS_SOCKET)

    def socket_prefix(self, room: int) -> str:
        """How paths of this installation's sockets begin, to which `room` more bytes can be added."""
        prefix = f"{self.data_dir.resolve() / 'run'}{os.sep}"
        if len(os.fsencode(prefix)) + room <= MAX_SOCKET_PATH_BYTES:
            return prefix
        name = hashlib.sha256(os.fsencode(self.data_dir.resolve())).hexdigest()[:16]
        return str(Path(tempfile.gettempdir()) / f"recurra-{os.getuid()}" / f"{name}-")

    @property
    def storage(self) -> str:
        """The URL of the artifact store."""
        return self.storage_url or (self.data_dir.resolve() / "storage").as_uri()
