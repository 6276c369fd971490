"""docker-compose.yml and the Dockerfile keep what the documentation promises."""

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "api", "train", "serve", "train-gpu", "serve-gpu")
LASTING = sorted(SERVICES.keys() - {"migrate"})
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KEYS = {
    "build", "cap_drop", "command", "cpus", "depends_on", "deploy", "entrypoint", "environment",
    "healthcheck", "image", "init", "mem_limit", "networks", "pids_limit", "ports", "profiles", "read_only",
    "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes",
}  # fmt: skip


def test_it_has_every_part() -> None:
    assert SERVICES.keys() == {"postgres", "redis", "page", *OURS}
    assert COMPOSE.keys() - {"name", "services", "networks", "volumes", "secrets"} == {
        key for key in COMPOSE if key.startswith("x-")
    }
    for service in SERVICES.values():
        assert service.keys() <= KEYS


def test_docker_itself_accepts_it() -> None:
    docker = shutil.which("docker")
    if (
        not docker
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no docker compose here")
    done = subprocess.run(
        [docker, "compose", "--profile", "gpu", "config", "-q"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_part_is_confined(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\$\{RECURRA_(SERVER|WORKER)_MEMORY:-\dg\}", service["mem_limit"])
    assert re.fullmatch(r"\$\{RECURRA_(SERVER|WORKER)_CPUS:-\d\}", service["cpus"])
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])  # noqa: S108
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["init"] is True
    assert "privileged" not in service


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_part_is_watched_restarted_and_given_time(name: str) -> None:
    service = SERVICES[name]
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()
    assert service["restart"] == "unless-stopped"
    assert int(service["stop_grace_period"].removesuffix("s")) >= 15


def test_images_are_pinned() -> None:
    for service in SERVICES.values():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:\d+(\.\d+)*-\w+", service["image"])
    assert re.search(r"^ARG PYTHON=3\.12-slim-\w+$", DOCKERFILE, re.MULTILINE)


def test_only_api_and_page_are_published_and_only_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api", "page"}
    assert SERVICES["api"]["ports"] == ["${RECURRA_PUBLISH:-127.0.0.1:8000}:8000"]
    assert SERVICES["page"]["ports"] == ["${RECURRA_PAGE_PUBLISH:-127.0.0.1:8001}:8001"]


def test_networks_separate_the_parts() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["postgres"] == {"database"}
    assert networks["redis"] == {"broker"}
    assert {name for name, found in networks.items() if "front" in found} == {"api", "page"}
    assert networks["page"] == {"front"}
    assert COMPOSE["networks"]["database"] == COMPOSE["networks"]["broker"] == {"internal": True}
    assert set().union(*networks.values()) == COMPOSE["networks"].keys()


def test_secrets_are_files_and_in_no_environment() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE")
            assert "DATABASE_URL" not in key
            assert not re.search(r"://[^/]*:[^/]*@", str(value))
    assert SERVICES["postgres"]["secrets"] == ["postgres_password"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"  # noqa: S105
    for name in OURS:
        assert SERVICES[name]["secrets"] == ["recurra_database_url"]  # as app.settings reads it
    assert COMPOSE["secrets"] == {
        name: {"file": f"./secrets/{name}"} for name in ("postgres_password", "recurra_database_url")
    }
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_parts_wait_for_what_they_need() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in OURS[1:]:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_data_is_kept_in_named_volumes() -> None:
    used = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])
    }
    assert used == COMPOSE["volumes"].keys() == {"postgres", "recurra", "page"}


def test_the_broker_keeps_nothing_and_evicts_nothing() -> None:
    """A job's row is the truth, and lanes carry megabytes a second that nobody needs after a restart."""
    server, *arguments = SERVICES["redis"]["command"]
    assert server == "valkey-server"
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options == {"--appendonly": "no", "--save": "", "--maxmemory-policy": "noeviction"}
    assert "volumes" not in SERVICES["redis"]
    (data,) = [mount for mount in SERVICES["redis"]["tmpfs"] if mount.startswith("/data:")]
    assert data == "/data:uid={},gid={}".format(*SERVICES["redis"]["user"].split(":"))


def test_gpu_workers_are_a_profile() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"train-gpu", "serve-gpu"}
    for name in ("train-gpu", "serve-gpu"):
        assert SERVICES[name]["profiles"] == ["gpu"]
        assert SERVICES[name]["command"] == SERVICES[name.removesuffix("-gpu")]["command"]
        (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_images_have_what_the_parts_name() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    parents = {stage: parent for parent, stage in stages}
    for name in (*OURS, "page"):
        assert SERVICES[name]["build"]["target"] in parents
        assert SERVICES[name]["image"] == f"recurra-{SERVICES[name]['build']['target']}"
        assert SERVICES[name]["entrypoint"] == ["recurra"]
    assert parents["api"] == parents["page"] == parents["worker"] == "base"
    for stage in ("api", "page", "worker"):
        block = DOCKERFILE.split(f" AS {stage}\n")[1].split("\nFROM ")[0]
        assert "HEALTHCHECK" in block
    assert "USER 10001:10001" in DOCKERFILE
    assert "[worker]" not in DOCKERFILE.split("AS build\n")[1].split("\nFROM ")[0]  # no torch beside the API
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    ]
    assert ignored[0] == "*"
    assert {f"!{name}" for name in copied} <= set(ignored)


def test_make_secrets_writes_one_password_in_two_files(tmp_path: Path) -> None:
    make = shutil.which("make")
    if not make:
        pytest.skip("there is no make here")
    command = [make, "-s", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "secrets"]
    subprocess.run(command, check=True)
    password = (tmp_path / "secrets" / "postgres_password").read_text()
    url = (tmp_path / "secrets" / "recurra_database_url").read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", password)
    assert url == f"postgresql://recurra:{password}@postgres:5432/recurra"
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    subprocess.run(command, check=True)
    assert (tmp_path / "secrets" / "postgres_password").read_text() == password


def test_the_page_has_no_secret_and_knows_nothing_but_the_api() -> None:
    page = SERVICES["page"]
    assert "secrets" not in page
    assert page["command"][-2:] == ["--url", "http://api:8000"]
    assert page["environment"]["RECURRA_AUTH"] == "keys"  # else it would not listen beyond its container
    assert page["environment"]["TMPDIR"] == page["volumes"][0].partition(":")[2]
    assert page["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_the_api_answers_for_the_name_of_its_service() -> None:
    assert "api" in SERVICES["api"]["environment"]["RECURRA_ALLOWED_HOSTS"].split(",")
    assert SERVICES["api"]["environment"].keys() > SERVICES["train"]["environment"].keys()
