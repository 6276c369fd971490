"""Engines against reference arithmetic, and their cache with fakes."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper

from app.arrays import Floats, Ints
from app.errors import NotFound
from app.infrastructure.artifacts import digest_files
from tests.support.factories.networks import lstm, store
from workers.inference.artifact_cache import ArtifactCache, DamagedArtifact, FetchFailed
from workers.inference.engines import (
    RETRY_FETCH_SECONDS,
    RETRY_LOAD_SECONDS,
    SESSION_BYTES,
    Engine,
    Engines,
    LoadError,
    MissingVersion,
    OnnxEngine,
    StoreUnreachable,
    open_onnx,
)
from workers.serving.spec import PredictorSpec


def ragged(lengths: list[int], features: int, seed: int = 0) -> tuple[Floats, Ints]:
    """Random right-padded inputs; the padding is rubbish that no output may depend on."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(lengths), max(lengths), features)).astype(np.float32), np.array(lengths)


def alone(engine: Engine, inputs: Floats, lengths: Ints) -> Floats:
    """The outputs of each row run by itself, without its padding."""
    rows = [
        engine.run(np.ascontiguousarray(row[None, :steps]), np.array([steps]))[0]
        for row, steps in zip(inputs, lengths, strict=True)
    ]
    return np.stack(rows)


def reference(inputs: Floats, lengths: Ints, seed: int) -> Floats:
    """The network (3 -> 5 -> 2) by torch. Its gates are i, f, c, o, those of ONNX i, o, f, c."""
    rng = np.random.default_rng(seed)
    w, r, b = (rng.normal(0, 0.4, shape) for shape in ((20, 3), (20, 5), (2, 20)))
    head = rng.normal(0, 0.4, (5, 2))
    order = np.concatenate([np.arange(5) + 5 * gate for gate in (0, 2, 3, 1)])
    net = torch.nn.LSTM(3, 5, batch_first=True).double()
    state = {
        "weight_ih_l0": w[order],
        "weight_hh_l0": r[order],
        "bias_ih_l0": b[0][order],
        "bias_hh_l0": b[1][order],
    }
    net.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        states = net(torch.from_numpy(inputs).double())[0].numpy()  # (batch, time, 5)
    last: Floats = (states[np.arange(len(lengths)), lengths - 1] @ head).astype(np.float32)
    return last


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return store(tmp_path / "net", lstm(seed=4))


def test_onnx_outputs_are_the_arithmetic_s(network: Path) -> None:
    inputs, lengths = ragged([7, 1, 4, 7], features=3)
    np.testing.assert_allclose(
        open_onnx(network, "cpu").run(inputs, lengths), reference(inputs, lengths, seed=4), atol=1e-6
    )


def test_onnx_outputs_do_not_depend_on_the_batch(network: Path) -> None:
    engine = open_onnx(network, "cpu")
    inputs, lengths = ragged([1, 9, 30, 17, 64, 2, 33], features=3)
    np.testing.assert_allclose(engine.run(inputs, lengths), alone(engine, inputs, lengths), atol=1e-6)


def test_a_graph_with_another_signature_is_refused(tmp_path: Path) -> None:
    model = lstm()
    model.graph.node.insert(0, helper.make_node("Identity", ["extra"], ["unused"]))
    model.graph.input.append(helper.make_tensor_value_info("extra", 1, ["batch"]))
    store(tmp_path, model)
    with pytest.raises(ValueError, match="extra"):
        OnnxEngine(tmp_path / "model.onnx")


def test_onnx_runtime_reports_nothing_and_leaves_nothing_at_home(tmp_path: Path, network: Path) -> None:
    code = (
        "import pathlib, sys, workers.inference.engines as e; e.open_onnx(pathlib.Path(sys.argv[1]), 'cpu')"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code, network], env=environment, check=True, timeout=60)
    assert list(home.iterdir()) == []


def test_a_store_that_fails_is_not_a_missing_artifact(shelf: "FakeStore", cache: ArtifactCache) -> None:
    shelf.away = True
    with pytest.raises(FetchFailed, match="refused"):
        cache.directory("a/1")
    shelf.away = False
    with pytest.raises(NotFound):
        cache.directory("a/1")


class FakeStore:
    """Artifacts of one file each; counts what is fetched, and can be told to write rubbish."""

    def __init__(self, root: Path) -> None:
        self.root, self.fetched, self.away = root, list[str](), False

    def add(self, artifact: str, seed: int = 0) -> None:
        store(self.root / artifact, lstm(seed=seed))

    def corrupt(self, artifact: str) -> None:
        (self.root / artifact / "model.onnx").write_bytes(b"rubbish")

    def fetch(self, artifact: str, directory: Path) -> Path:
        self.fetched.append(artifact)
        if self.away:
            raise OSError("connection refused")
        if not (self.root / artifact).is_dir():
            raise NotFound(f"Nothing is stored under {artifact}")
        shutil.copytree(self.root / artifact, directory)
        return directory


@pytest.fixture
def shelf(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path, shelf: FakeStore) -> ArtifactCache:
    return ArtifactCache(shelf.fetch, tmp_path / "cache", 1 << 30)


def opener(opened: list[Path]) -> Callable[[Path], Engine]:
    def open_engine(directory: Path) -> Engine:
        opened.append(directory)
        return open_onnx(directory, "cpu")

    return open_engine


def test_an_artifact_is_fetched_once_for_all_processes(
    shelf: FakeStore, cache: ArtifactCache, tmp_path: Path
) -> None:
    shelf.add("a/1")
    place = cache.directory("a/1")
    assert (place / "model.onnx").is_file()
    assert ArtifactCache(shelf.fetch, tmp_path / "cache", 1 << 30).directory("a/1") == place
    assert shelf.fetched == ["a/1"]
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_damaged_copy_is_fetched_again(shelf: FakeStore, cache: ArtifactCache) -> None:
    shelf.add("a/1")
    (cache.directory("a/1") / "model.onnx").write_bytes(b"rubbish")
    assert (cache.directory("a/1") / "model.onnx").read_bytes() != b"rubbish"
    (cache.directory("a/1") / "model.onnx").unlink()
    assert (cache.directory("a/1") / "model.onnx").is_file()
    assert len(shelf.fetched) == 3


def test_a_damaged_artifact_leaves_nothing_in_the_cache(
    shelf: FakeStore, cache: ArtifactCache, tmp_path: Path
) -> None:
    shelf.add("a/1")
    shelf.corrupt("a/1")
    with pytest.raises(DamagedArtifact, match="sha256"):
        cache.directory("a/1")
    assert list((tmp_path / "cache").iterdir()) == []


def test_files_altered_together_with_their_manifest_are_not_loaded(
    shelf: FakeStore, cache: ArtifactCache
) -> None:
    shelf.add("a/1")
    reference = f"a/1@{digest_files((shelf.root / 'a/1').iterdir())}"
    original = (cache.directory(reference) / "model.onnx").read_bytes()
    assert shelf.fetched == ["a/1"]
    store(cache.directory(reference), lstm(seed=1))  # in the cache: it is fetched again
    assert (cache.directory(reference) / "model.onnx").read_bytes() == original
    shelf.add("a/1", seed=1)
    store(cache.directory(reference), lstm(seed=1))
    with pytest.raises(DamagedArtifact, match="the database's"):
        cache.directory(reference)


def test_another_process_may_be_faster(shelf: FakeStore, tmp_path: Path) -> None:
    shelf.add("a/1")
    other = ArtifactCache(shelf.fetch, tmp_path / "cache", 1 << 30)

    def fetch_while_another_does(artifact: str, directory: Path) -> Path:
        other.directory(artifact)
        return shelf.fetch(artifact, directory)

    place = ArtifactCache(fetch_while_another_does, tmp_path / "cache", 1 << 30).directory("a/1")
    assert place == other.directory("a/1")


def test_the_cache_directory_is_bounded(shelf: FakeStore, tmp_path: Path) -> None:
    for version in range(3):
        shelf.add(f"a/{version}", seed=version)
    one = sum(file.stat().st_size for file in (shelf.root / "a/0").iterdir())
    cache = ArtifactCache(shelf.fetch, tmp_path / "cache", int(2.5 * one))
    first = cache.directory("a/0")
    cache.directory("a/1")
    cache.directory("a/0")
    cache.directory("a/2")
    assert first.is_dir()
    assert len(list((tmp_path / "cache").iterdir())) == 2
    cache.directory("a/1")
    assert shelf.fetched == ["a/0", "a/1", "a/2", "a/1"]


def fetch(engines: Engines, artifact: str) -> Engine:
    engines.load(artifact)
    found = engines.find(artifact)
    assert found is not None
    return found


def test_engines_load_once_and_only_when_told(shelf: FakeStore, cache: ArtifactCache) -> None:
    shelf.add("a/1")
    opened: list[Path] = []
    engines = Engines(cache, opener(opened), 1 << 30)
    assert engines.find("a/1") is None
    assert opened == []
    assert fetch(engines, "a/1") is fetch(engines, "a/1")
    assert len(opened) == 1
    assert engines.loaded() == ["a/1"]


def test_the_least_recently_used_engine_goes(shelf: FakeStore, cache: ArtifactCache) -> None:
    for version in range(3):
        shelf.add(f"a/{version}", seed=version)
    one = SESSION_BYTES + sum(file.stat().st_size for file in (shelf.root / "a/0").iterdir())
    opened: list[Path] = []
    engines = Engines(cache, opener(opened), int(2.5 * one))
    fetch(engines, "a/0")
    fetch(engines, "a/1")
    engines.find("a/0")
    fetch(engines, "a/2")
    assert engines.loaded() == ["a/0", "a/2"]
    assert engines.find("a/1") is None
    fetch(engines, "a/1")
    assert len(opened) == 4
    assert len(shelf.fetched) == 3


def test_one_engine_larger_than_the_bound_is_still_served(shelf: FakeStore, cache: ArtifactCache) -> None:
    shelf.add("a/1")
    engines = Engines(cache, opener([]), 1)
    assert fetch(engines, "a/1") is fetch(engines, "a/1")


def test_a_broken_version_is_remembered_for_a_while(shelf: FakeStore, cache: ArtifactCache) -> None:
    now = 100.0
    shelf.add("a/1")
    shelf.corrupt("a/1")
    engines = Engines(cache, opener([]), 1 << 30, clock=lambda: now)
    engines.load("a/1")
    for _ in range(3):
        with pytest.raises(LoadError, match="sha256") as caught:
            engines.find("a/1")
        assert type(caught.value) is LoadError
    shelf.add("a/1")
    now += RETRY_LOAD_SECONDS
    assert engines.find("a/1") is None
    fetch(engines, "a/1")
    assert len(shelf.fetched) == 2


def test_a_version_that_is_not_stored_is_missing(cache: ArtifactCache) -> None:
    engines = Engines(cache, opener([]), 1 << 30)
    engines.load("a/9")
    with pytest.raises(MissingVersion):
        engines.find("a/9")


def test_a_store_that_is_away_is_asked_again_after_a_second(shelf: FakeStore, cache: ArtifactCache) -> None:
    now = 100.0
    shelf.add("a/1")
    shelf.away = True
    engines = Engines(cache, opener([]), 1 << 30, clock=lambda: now)
    engines.load("a/1")
    with pytest.raises(StoreUnreachable, match="try again"):
        engines.find("a/1")
    shelf.away = False
    now += RETRY_FETCH_SECONDS
    assert engines.find("a/1") is None
    fetch(engines, "a/1")


def test_a_graph_that_onnx_runtime_refuses_is_broken(
    tmp_path: Path, shelf: FakeStore, cache: ArtifactCache
) -> None:
    (shelf.root / "a/1").mkdir(parents=True)
    (shelf.root / "a/1" / "model.onnx").write_bytes(b"rubbish without a manifest")
    engines = Engines(cache, opener([]), 1 << 30)
    engines.load("a/1")
    with pytest.raises(LoadError, match="cannot be loaded"):
        engines.find("a/1")


def test_while_a_version_loads_the_others_are_there(shelf: FakeStore, cache: ArtifactCache) -> None:
    opening, release = threading.Event(), threading.Event()

    def slow(directory: Path) -> Engine:
        if opened:
            opening.set()
            assert release.wait(10)
        return opener(opened)(directory)

    shelf.add("a/1")
    shelf.add("a/2")
    opened: list[Path] = []
    engines = Engines(cache, slow, 1 << 30)
    engines.load("a/1")
    thread = threading.Thread(target=engines.load, args=("a/2",))
    thread.start()
    assert opening.wait(10)
    assert engines.find("a/1") is not None
    assert engines.find("a/2") is None
    assert engines.loaded() == ["a/1"]
    release.set()
    thread.join()
    assert engines.loaded() == ["a/1", "a/2"]


def test_three_hundred_small_versions_fit_in_one_predictor(shelf: FakeStore, cache: ArtifactCache) -> None:
    spec = PredictorSpec("", "", "", "")
    engines = Engines(cache, opener([]), spec.memory_bytes)
    inputs, lengths = ragged([5, 2], features=3)
    before = resident()
    for version in range(300):
        shelf.add(f"a/{version}", seed=version)
        engines.load(f"a/{version}")
    each = (resident() - before) / 300
    assert len(engines.loaded()) == 300
    assert each < SESSION_BYTES
    for version in (0, 150, 299):
        engine = engines.find(f"a/{version}")
        assert engine is not None
        np.testing.assert_allclose(
            engine.run(inputs, lengths), reference(inputs, lengths, seed=version), atol=1e-6
        )


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
