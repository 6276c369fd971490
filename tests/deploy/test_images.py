"""The images are built and run: every target and every command of docker-compose.yml, up to a prediction.

Needs root, buildah and debootstrap, and installs packages from where Debian and pip have them here. With a
directory in RECURRA_TEST_IMAGES the store of images stays there, and the next run begins with what it has.
"""

import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.fixtures.images import Buildah, Container
from tests.support.fixtures.parts import (
    ROOT,
    SERVICES,
    arguments,
    empty_broker,
    empty_database,
    is_ready,
    train_and_predict,
)
from tests.support.fixtures.servers import until

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
TARGETS = ("api", "page", "worker")
LOCKED = dict(
    line.lower().replace("_", "-").split("==")
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line
)
PAGE = {"RECURRA_AUTH": "keys", "TMPDIR": "/var/lib/recurra"}  # all that it gets of the others' environment
# Not in the lock file: what only a torch with CUDA needs, or redis before Python 3.11.3, as in this base.
ELSEWHERE = re.compile(r"(nvidia|cuda|triton)\b.*|async-timeout")
LIST_PACKAGES = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """A store with the base image, emptied at the end."""
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"images are built as root with buildah and debootstrap; missing: {missing or 'root'}")
    kept = os.environ.get("RECURRA_TEST_IMAGES")
    directory = Path(kept) if kept else tmp_path_factory.mktemp("images")
    made = Buildah(directory)
    suite = re.search(r"^ARG PYTHON_IMAGE=.*-slim-(\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert suite
    try:
        if not made.has_base():
            made.make_base(directory / "base", suite[1])
            shutil.rmtree(directory / "base")
        yield made
    finally:
        made("rm", "--all")
        if not kept:
            made("rmi", "--all", "--force")
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build may see, to change it."""
    folder = tmp_path_factory.mktemp("context")
    for name in re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            )
        else:
            shutil.copy(ROOT / name, place)
    shutil.copy(ROOT / ".dockerignore", folder)
    shutil.copy(ROOT / "Dockerfile", folder)
    return folder


@pytest.fixture(scope="module")
def images(buildah: Buildah, context: Path) -> dict[str, str]:
    """The image of each target."""
    made = {target: f"localhost/recurra-{target}" for target in TARGETS}
    for target, image in made.items():
        buildah.build(context, target, image)
    return made


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """What the compose file gives its parts, with this machine's servers."""
    with empty_database() as database, empty_broker() as broker:
        yield {
            "RECURRA_DATABASE_URL": database,
            "RECURRA_REDIS_URL": broker,
            "RECURRA_DATA_DIR": SERVICES["api"]["environment"]["RECURRA_DATA_DIR"],
            "RECURRA_AUTH": SERVICES["api"]["environment"]["RECURRA_AUTH"],
        }


def test_an_image_has_the_locked_packages_and_nothing_to_build_with(
    buildah: Buildah, images: dict[str, str], tmp_path: Path
) -> None:
    sizes = {}
    for target, image in images.items():
        container = Container(buildah, image, {}, tmp_path)
        listed = dict(
            line.lower().replace("_", "-").split()
            for line in container("python", "-c", LIST_PACKAGES).splitlines()
        )
        others = {name: version.partition("+")[0] for name, version in listed.items() if name in LOCKED}
        assert others == {name: LOCKED[name] for name in others}
        unlocked = [name for name in listed.keys() - LOCKED.keys() if not ELSEWHERE.fullmatch(name)]
        assert all(name.startswith("recurra") for name in unlocked), unlocked
        assert ("torch" in listed) == (target == "worker")
        assert not {"pip", "pytest", "ruff"} & listed.keys()
        config = buildah.inspect(image)["config"]
        assert (config["User"], config["Entrypoint"]) == ("10001:10001", ["recurra"])
        assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
        assert container("recurra", "--version").startswith("recurra ")
        sizes[target] = buildah.files_bytes(container.name, "/opt/recurra")
    log.info("MiB of /opt/recurra: %s", {target: round(size / 2**20) for target, size in sizes.items()})
    assert sizes["api"] < sizes["page"] < sizes["worker"]


def test_what_changes_in_the_sources_is_one_layer(
    buildah: Buildah, context: Path, images: dict[str, str]
) -> None:
    """Neither sources nor what pyproject.toml has besides requirements install a package again."""
    layers = {target: buildah.inspect(image)["rootfs"]["diff_ids"] for target, image in images.items()}
    with (context / "app" / "times.py").open("a") as file:
        file.write("\n# changed\n")
    with (context / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    for target, image in images.items():
        printed = buildah.build(context, target, f"{image}:changed")
        assert "Using cache" in printed
        after = buildah.inspect(f"{image}:changed")["rootfs"]["diff_ids"]
        assert len(after) == len(layers[target])
        changed = [
            index for index, pair in enumerate(zip(layers[target], after, strict=True)) if pair[0] != pair[1]
        ]
        assert changed == [len(after) - 1]


def test_every_command_of_compose_runs_in_its_image(
    buildah: Buildah, images: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, page_port = one.getsockname()[1], other.getsockname()[1]
    ports = {"api": [str(port)], "page": [str(page_port)]}
    own = {name: service for name, service in SERVICES.items() if "build" in service}
    containers = {
        name: Container(
            buildah, images[service["build"]["target"]], environment if "secrets" in service else PAGE, data
        )
        for name, service in own.items()
    }
    containers["migrate"]("recurra", *arguments("migrate"))
    key = containers["api"]("recurra", "keys", "create", "me").split()[0]
    headers = {"Authorization": f"Bearer {key}"}
    with (
        ExitStack() as stack,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client,
    ):
        lasting = [name for name in own if name != "migrate"]
        for name in lasting:
            command = ("recurra", *arguments(name, port, page_port))
            stack.enter_context(containers[name].running(tmp_path / f"{name}.log", *command))
        until(lambda: is_ready(client), seconds=60, what="readiness", every=0.2)
        for name in lasting:
            _, *check = own[name]["healthcheck"]["test"]
            check += ports.get(name, [])
            until(
                lambda name=name, check=check: is_healthy(containers[name], check),
                60,
                f"{name}'s health",
                every=0.5,
            )
        train_and_predict(client)
    assert not is_healthy(containers["train"], ["recurra-healthy", "train"])


def is_healthy(container: Container, check: list[str]) -> bool:
    """Whether the health check of a part passes."""
    try:
        container(*check)
    except AssertionError:
        return False
    return True
