"""docker-compose.yml and the Dockerfile keep what the documentation promises."""

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "api", "train", "serve", "train-gpu", "serve-gpu")
LASTING = sorted(SERVICES.keys() - {"migrate"})
WORKERS = ("train", "serve", "train-gpu", "serve-gpu")
FIXED = {
    "RECURRA_DATA_DIR",
    "RECURRA_AUTH",
}  # the volume's place; without keys nothing listens on other addresses
OF_THE_API = {"RECURRA_AUTH", "RECURRA_ALLOWED_HOSTS", "RECURRA_PAGE_URL"}
STORE_VARIABLES = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
}  # fmt: skip
VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KEYS = {
    "build", "cap_drop", "command", "cpus", "depends_on", "deploy", "entrypoint", "environment",
    "healthcheck", "image", "init", "mem_limit", "networks", "pids_limit", "ports", "profiles", "read_only",
    "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes",
}  # fmt: skip


def resolved(text: str, **variables: str) -> str:
    """A value with its variables filled in, as Compose does."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match.groups()
        given = variables.get(name, "")
        return {"-": given or word, "+": word if given else "", None: given}[operator]

    return VARIABLE.sub(value, text)


def test_it_has_every_part() -> None:
    assert SERVICES.keys() == {"postgres", "redis", "page", *OURS}
    assert COMPOSE.keys() - {"name", "services", "networks", "volumes", "secrets"} == {
        key for key in COMPOSE if key.startswith("x-")
    }
    for service in SERVICES.values():
        assert service.keys() <= KEYS


def compose_command() -> list[str]:
    """Docker Compose 2, as a plug-in of docker or alone; the test is skipped where there is neither."""
    for name, arguments in (("docker", ["compose"]), ("docker-compose", [])):
        program = shutil.which(name)
        command = [str(program), *arguments]
        if program and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
            return command
    pytest.skip("there is no docker compose here")


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_docker_compose_itself_reads_it_so(profile: str, tmp_path: Path) -> None:
    command = compose_command()
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    for url, network in (("", "store"), ("s3://bucket/prefix", "public-store")):
        (tmp_path / ".env").write_text(f"RECURRA_STORAGE_URL={url}\nRECURRA_MAX_BATCH=128\n")
        done = subprocess.run(
            [*command, "--profile", profile, "config", "--format", "json"],
            capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        services = json.loads(done.stdout)["services"]
        workers = {"cpu": {"train", "serve"}, "gpu": {"train-gpu", "serve-gpu"}}[profile]
        assert services.keys() == {"postgres", "redis", "migrate", "api", "page"} | workers
        for name in workers:
            assert services[name]["networks"].keys() == {"database", "broker", network}
            assert services[name]["environment"]["RECURRA_MAX_BATCH"] == "128"
            assert services[name]["environment"]["RECURRA_MAX_WAITING"] is None  # not set in the container
            assert ("deploy" in services[name]) == (profile == "gpu")


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
            assert re.fullmatch(r"[\w./-]+:\d+(\.\d+)*-\w+", resolved(service["image"]))
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.12-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {
        "${PYTHON_IMAGE}", *re.findall(r"^FROM (packages|base) AS", DOCKERFILE, re.MULTILINE)
    }  # fmt: skip


def test_every_image_of_others_may_be_named_by_its_digest() -> None:
    digest = "registry.example.com/one@sha256:" + 64 * "0"
    names = []
    for service in SERVICES.values():
        image = service["build"]["args"]["PYTHON_IMAGE"] if "build" in service else service["image"]
        (match,) = VARIABLE.finditer(image)
        names.append(match[1])
        assert resolved(image, **{match[1]: digest}) == digest
    assert set(names) == {f"RECURRA_{name}_IMAGE" for name in ("PYTHON", "POSTGRES", "VALKEY")}


def test_make_digests_writes_them_beside_what_is_there(tmp_path: Path) -> None:
    make = shutil.which("make")
    if not make:
        pytest.skip("there is no make here")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        '#!/bin/sh\ntest "$1 $2 $3" = "buildx imagetools inspect" && echo "sha256:$6" | tr : -\n'
    )
    docker.chmod(0o755)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text("RECURRA_VALKEY_IMAGE=old\nRECURRA_MAX_BATCH=8\n")
    environment = {"PATH": f"{docker.parent}:/usr/bin:/bin"}
    command = [make, "-s", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "digests"]
    for _ in range(2):
        subprocess.run(command, check=True, env=environment)
        assert (tmp_path / ".env").read_text().splitlines() == [
            "RECURRA_MAX_BATCH=8",
            "RECURRA_POSTGRES_IMAGE=postgres:17-alpine@sha256-postgres-17-alpine",
            "RECURRA_PYTHON_IMAGE=python:3.12-slim-bookworm@sha256-python-3.12-slim-bookworm",
            "RECURRA_VALKEY_IMAGE=valkey/valkey:8.1-alpine@sha256-valkey/valkey-8.1-alpine",
        ]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    docker.write_text("#!/bin/sh\nexit 1\n")
    before = (tmp_path / ".env").read_text()
    assert subprocess.run(command, check=False, env=environment, stderr=subprocess.DEVNULL).returncode != 0
    assert (tmp_path / ".env").read_text() == before


def test_only_api_and_page_are_published_and_only_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api", "page"}
    assert SERVICES["api"]["ports"] == ["${RECURRA_PUBLISH:-127.0.0.1:8000}:8000"]
    assert SERVICES["page"]["ports"] == ["${RECURRA_PAGE_PUBLISH:-127.0.0.1:8001}:8001"]


def test_networks_separate_the_parts() -> None:
    networks = {name: set(map(resolved, service["networks"])) for name, service in SERVICES.items()}
    assert networks["postgres"] == {"database"}
    assert networks["redis"] == {"broker"}
    assert {name for name, found in networks.items() if "front" in found} == {"api", "page"}
    assert networks["page"] == {"front"}
    inside = set().union(*networks.values()) - {"front"}
    assert all(COMPOSE["networks"][name] == {"internal": True} for name in inside)
    assert set().union(*networks.values()) == COMPOSE["networks"].keys() - {"public-store"}


def test_a_store_elsewhere_is_reached_by_all_that_read_it() -> None:
    url = {"RECURRA_STORAGE_URL": "s3://bucket/prefix"}
    for name in ("api", *WORKERS):
        networks = [resolved(network, **url) for network in SERVICES[name]["networks"]]
        outside = [
            network for network in networks if not (COMPOSE["networks"][network] or {}).get("internal")
        ]
        assert outside == (["front"] if name == "api" else ["public-store"])
        assert {key for key in SERVICES[name]["environment"] if key.startswith("AWS_")} == STORE_VARIABLES


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_passed_on_and_has_its_own_default(name: str) -> None:
    """What has no value in the file is taken from the environment, and is not set where that has none."""
    environment = SERVICES[name]["environment"]
    settings = {f"RECURRA_{field.upper()}" for field in Settings.model_fields}
    by_secret = {f"RECURRA_{secret.removeprefix('recurra_').upper()}" for secret in SERVICES[name]["secrets"]}
    expected = settings - by_secret - (set() if name == "api" else OF_THE_API)
    assert {key for key in environment if key.startswith("RECURRA_")} - {"RECURRA_API_PROCESSES"} == expected
    for key in environment.keys() - FIXED:
        value = environment[key]
        assert value is None or "12" in resolved(value, **{key: "12"}).split(",")
    assert "RECURRA_API_PROCESSES" in SERVICES["api"]["environment"]


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


def test_a_profile_has_workers_of_one_kind_each_role_once() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"train": ["cpu"], "serve": ["cpu"], "train-gpu": ["gpu"], "serve-gpu": ["gpu"]}
    for name in ("train", "serve"):
        assert "deploy" not in SERVICES[name]
    for name in ("train-gpu", "serve-gpu"):
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
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    ]
    assert ignored[0] == "*"
    taken = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert [name for name in copied if not {name, *map(str, Path(name).parents)} & taken] == []


def stage(name: str) -> str:
    """The lines of a stage of the Dockerfile."""
    return DOCKERFILE.split(f" AS {name}\n")[1].split("\nFROM ")[0]


def test_no_torch_is_beside_the_api() -> None:
    assert "worker.txt" not in stage("packages")
    assert "--from=packages /opt" in stage("api")
    assert "--from=packages-worker /opt" in stage("worker")


def test_packages_are_installed_from_the_lock_file_and_before_the_sources() -> None:
    for name in ("packages", "packages-worker"):
        assert not re.search(
            r"^COPY .*\b(app|client|workers|migrations|pyproject\.toml)\b", stage(name), re.MULTILINE
        )
    for line in re.findall(r"^RUN .*pip .*install (?!--no-deps).*$", DOCKERFILE, re.MULTILINE):
        assert "--constraint requirements.lock" in line
    for name in ("api", "worker"):
        *_, packages, project = re.findall(r"^COPY .*$", stage(name), re.MULTILINE)
        assert ("--from=packages" in packages, "--from=project" in project) == (True, True)


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
    assert page["environment"]["RECURRA_URL"] == "http://api:8000"
    assert "--url" not in page["command"]
    assert page["environment"]["RECURRA_AUTH"] == "keys"  # else it would not listen beyond its container
    assert page["environment"]["TMPDIR"] == page["volumes"][0].partition(":")[2]
    assert page["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_the_api_answers_for_the_name_of_its_service() -> None:
    assert "api" in SERVICES["api"]["environment"]["RECURRA_ALLOWED_HOSTS"].split(",")
    assert SERVICES["api"]["environment"].keys() > SERVICES["train"]["environment"].keys()
