"""The state of a job in a few words."""

from typing import Any

from recurra.errors import Json


def log_key(job: Json) -> str:
    """The part of a job's state whose change is logged: status, stage and epoch, or the number of runs."""
    progress = job.get("progress") or {}
    place = [progress[name] for name in ("phase", "member", "epoch", "runs") if name in progress]
    return " ".join(map(str, (job["status"], *place)))


def describe_job(job: Json) -> str:
    """A job in a few words: `refit on all data, epoch 9/20, loss 0.127, 10,412 samples/s, 31 s left`."""
    if job["status"] != "running":
        return str(job["status"])
    progress: dict[str, Any] = job.get("progress") or {}
    metrics: dict[str, Any] = job.get("metrics") or {}
    parts = ["stopping"] if job.get("cancel_requested") else ["pausing"] if job.get("pause_requested") else []
    if stage := _describe_stage(job):
        parts.append(stage)
    if progress.get("epoch") is not None:
        parts.append(f"epoch {progress['epoch']}/{progress.get('epochs', '?')}")
    if progress.get("instances") is not None:
        parts.append(f"{progress['instances']:,}/{progress['total']:,}")
    if progress.get("runs") is not None:
        parts.append(f"{progress['runs']}/{progress['total']} runs")
    names = ("valid_loss", "train_loss", *(name for name in metrics if name.startswith("valid_")))
    name = next((name for name in names if metrics.get(name) is not None), None)
    if name is not None:
        parts.append(f"{name.partition('_')[2]} {metrics[name]:.4g}")
    if progress.get("samples_per_second"):
        parts.append(f"{progress['samples_per_second']:,.0f} samples/s")
    if progress.get("eta_seconds") is not None:
        parts.append(f"{progress['eta_seconds']:.0f} s left")
    return ", ".join(parts) or "running"


def _describe_stage(job: Json) -> str:
    """What a training is at, where that is not simply its network: `refit of network 2/3 on all data`."""
    progress, count = job.get("progress") or {}, (job.get("training") or {}).get("ensemble") or 1
    network = f" of network {progress['member'] + 1}/{count}" if "member" in progress else ""
    match progress.get("phase"):
        case "prepare":
            return "preparing the data"
        case "evaluate":
            return f"evaluating{network}"
        case "pretrain":
            return "pretraining on the texts alone"
        case "ablation":
            return "a simpler network, to compare with"
        case "refit":
            return _describe_refit(progress, network)
        case _:
            return network.removeprefix(" of ")


def _describe_refit(progress: Json, network: str) -> str:
    """That of a training, or of an evaluation that trains before each window."""
    if "window" not in progress:
        return f"refit{network} on all data"
    return f"training version {progress['version']} before window {progress['window'] + 1}"
