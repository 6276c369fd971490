"""Which devices a worker uses: those that the machine has, torch can use, and the settings name."""

from pathlib import Path

import pytest

from app.settings import Settings
from workers.jobs import machine
from workers.jobs.machine import ConfiguredDeviceMissing, torch_has_cuda, usable_gpus, worker_devices

CUDA, PLAIN = "cuda: Optional[str] = '13.0'\n", "cuda: Optional[str] = None\n"


class Spec:
    """Of an installed torch with this version file."""

    def __init__(self, directory: Path, version: str) -> None:
        directory.mkdir()
        (directory / "version.py").write_text(f"__version__ = '2.13.0'\n{version}hip: Optional[str] = None\n")
        self.submodule_search_locations = [str(directory)]


@pytest.fixture
def cuda_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda _: Spec(tmp_path / "torch", CUDA))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def root(tmp_path: Path, gpus: int) -> Path:
    for number in range(gpus):
        (tmp_path / "root" / "proc/driver/nvidia/gpus" / f"0000:{number:02d}:00.0").mkdir(parents=True)
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("setting", "gpus", "devices"),
    [
        ("auto", 0, ("cpu",)),
        ("auto", 2, ("cuda:0", "cuda:1")),
        ("cpu", 2, ("cpu",)),
        ("cuda", 2, ("cuda:0", "cuda:1")),
        ("cuda:1", 2, ("cuda:1",)),
    ],
)
def test_the_setting_chooses_among_the_devices_there(setting: str, gpus: int, devices: tuple[str]) -> None:
    assert worker_devices(setting, gpus) == devices


@pytest.mark.parametrize(("setting", "gpus", "there"), [("cuda", 0, "none"), ("cuda:2", 2, "cuda:0, cuda:1")])
def test_a_device_that_is_not_there_is_refused_at_the_start(setting: str, gpus: int, there: str) -> None:
    with pytest.raises(
        ConfiguredDeviceMissing, match=f"RECURRA_DEVICE is {setting}; the CUDA devices here: {there}"
    ):
        worker_devices(setting, gpus)


@pytest.mark.parametrize("setting", ["gpu", "cuda:01", "cuda:", "CUDA", "cuda:0,cuda:1"])
def test_the_setting_is_a_device(setting: str) -> None:
    with pytest.raises(ValueError, match="device"):
        Settings(device=setting)


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 3), ("", 0), ("-1", 0), ("1", 1), ("0,2", 2), ("0,-1,1", 1), ("0,1,2,3", 3)]
)
def test_only_visible_gpus_count(
    visible: str | None, count: int, cuda_build: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert usable_gpus(root(tmp_path, 3)) == count


def test_a_gpu_that_torch_cannot_use_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    spec = Spec(tmp_path / "torch", PLAIN)
    monkeypatch.setattr(machine, "find_spec", lambda _: spec)
    assert not torch_has_cuda()
    assert usable_gpus(root(tmp_path, 1)) == 0
    monkeypatch.setattr(machine, "find_spec", lambda _: None)
    assert not torch_has_cuda()


def test_a_gpu_under_windows_counts_as_one(cuda_build: None, tmp_path: Path) -> None:
    (tmp_path / "root" / "dev").mkdir(parents=True)
    assert usable_gpus(tmp_path / "root") == 0
    (tmp_path / "root" / "dev" / "dxg").touch()
    assert usable_gpus(tmp_path / "root") == 1


def test_the_version_file_of_the_installed_torch_is_understood() -> None:
    import torch  # noqa: PLC0415

    assert torch_has_cuda() == (torch.version.cuda is not None)
