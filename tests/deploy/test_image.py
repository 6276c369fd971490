"""What an image brings along besides the product: its requirements and its health checks."""

import os
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from app.infrastructure.liveness import LIVE_SECONDS, LivenessFile, lives
from deploy.image.requirements import requirements
from tests.support.fixtures.service import Service

ROOT = Path(__file__).resolve().parents[2]
HEALTHY = ROOT / "deploy" / "image" / "healthy.sh"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

SERVER = {
    "build-system": {"requires": ["setuptools>=77"]},
    "project": {
        "name": "my.Server",
        "dependencies": ["numpy>=2,<3", "my-client==1"],
        "optional-dependencies": {"worker": ["torch==2.*", "my_server[other]"], "other": ["scipy"]},
    },
}
CLIENT = {
    "build-system": {"requires": ["setuptools>=77", "wheel"]},
    "project": {"name": "my_client", "dependencies": ["httpx", "numpy>=2,<3"]},
}


def test_the_requirements_of_several_projects_are_those_of_others() -> None:
    both = [SERVER, CLIENT]
    assert requirements(both) == ["numpy>=2,<3", "httpx"]
    assert requirements(both, "worker") == ["numpy>=2,<3", "torch==2.*", "httpx"]
    assert requirements(both, build=True) == ["setuptools>=77", "wheel"]


def test_the_requirements_of_the_worker_are_those_of_the_api_and_torch() -> None:
    files = [ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"]
    documents = [tomllib.loads(path.read_text()) for path in files]
    api, worker = requirements(documents), requirements(documents, "worker")
    assert set(api) < set(worker)
    assert [line for line in worker if line.startswith("recurra")] == []
    assert [line for line in worker if line.startswith("torch")]
    assert [line for line in api if line.startswith("torch")] == []


def test_the_tracker_s_client_is_an_extra_of_the_worker_s_image() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    worker, tracked = (set(requirements([document], extras)) for extras in ("worker", "worker,tracking"))
    (more,) = tracked - worker
    assert worker < tracked
    assert more.startswith("mlflow-skinny")
    assert "--extra ${WORKER_EXTRAS}" in (ROOT / "Dockerfile").read_text()


def healthy(*arguments: str, data_dir: Path) -> int:
    """The exit status of the script, which gets by without Python."""
    tools = data_dir / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("find", "uname"):
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to(str(shutil.which(name)))
    environment = {"RECURRA_DATA_DIR": str(data_dir), "PATH": str(tools)}
    done = subprocess.run(
        ["/bin/bash", str(HEALTHY), *arguments], env=environment, check=False, stderr=subprocess.DEVNULL
    )
    return done.returncode


@pytest.mark.parametrize("role", ["train", "serve"])
def test_a_worker_is_healthy_while_its_reports_are_fresh(role: str, tmp_path: Path) -> None:
    assert healthy(role, data_dir=tmp_path) == 1
    LivenessFile(tmp_path, role, "worker_1").touch()
    assert healthy(role, data_dir=tmp_path) == 0
    assert healthy({"train": "serve", "serve": "train"}[role], data_dir=tmp_path) == 1
    for seconds, expected in ((LIVE_SECONDS + 1, 1), (LIVE_SECONDS / 2, 0)):
        then = time.time() - seconds
        for path in tmp_path.rglob(f"{role}.*"):
            os.utime(path, (then, then))
        assert lives(tmp_path, role) == (expected == 0)
        assert healthy(role, data_dir=tmp_path) == expected


def test_the_api_is_healthy_while_it_answers(on_sqlite: Service, tmp_path: Path) -> None:
    port = str(on_sqlite.http.base_url.port)
    assert healthy("api", port, data_dir=tmp_path) == 0
    assert healthy("api", "1", data_dir=tmp_path) == 1
    assert healthy("page", port, data_dir=tmp_path) == 0
    assert healthy("other", data_dir=tmp_path) == 2


def test_every_part_is_watched_by_it() -> None:
    for name, service in SERVICES.items():
        if "build" in service and name != "migrate":
            role = name.removesuffix("-gpu")
            assert service["healthcheck"]["test"] == ["CMD", "recurra-healthy", role]
    assert "deploy/image/healthy.sh /usr/local/bin/recurra-healthy" in (ROOT / "Dockerfile").read_text()
