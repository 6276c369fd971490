"""Runs of MLflow: an experiment for each model of a project, a run for each job; only this knows MLflow."""

import os
import time
from collections.abc import Mapping

from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from app.states import Status
from workers.tracking.runs import TrackedJob

EXPERIMENTS = "recurra"  # the first part of their names
JOB_TAG = "recurra.job"
MAX_VALUE_CHARS = 500  # of a setting or a tag
MAX_SETTINGS = 100  # that MLflow takes at once
# A server that is away is tried again by the tracker, not by the client's own many minutes of retries.
CLIENT_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
STATUSES = {
    Status.SUCCEEDED: RunStatus.FINISHED,
    Status.FAILED: RunStatus.FAILED,
    Status.CANCELLED: RunStatus.KILLED,
}


class MlflowRuns:
    """The runs of one tracking server, see `RunStore`."""

    def __init__(self, uri: str) -> None:
        for name, value in CLIENT_LIMITS.items():
            os.environ.setdefault(name, value)
        self._client = MlflowClient(tracking_uri=uri)

    def open(self, job: TrackedJob) -> str:
        """See `RunStore`."""
        experiment = self._experiment(f"{EXPERIMENTS}/{job.project}/{job.model}")
        there = self._client.search_runs([experiment], f"tags.`{JOB_TAG}` = '{job.id}'", max_results=1)
        if there:
            run = str(there[0].info.run_id)
            self._client.update_run(run, status=RunStatus.to_string(RunStatus.RUNNING))
            return run
        tags = {JOB_TAG: job.id, **{f"{EXPERIMENTS}.{name}": value for name, value in job.tags.items()}}
        made = self._client.create_run(experiment, run_name=job.id, tags=tags)
        run = str(made.info.run_id)
        settings = [Param(name, value[:MAX_VALUE_CHARS]) for name, value in job.settings.items()]
        for first in range(0, len(settings), MAX_SETTINGS):
            self._client.log_batch(run, params=settings[first : first + MAX_SETTINGS])
        return run

    def log(self, run: str, figures: Mapping[str, float], step: int, at: float) -> None:
        """See `RunStore`."""
        milliseconds = round(at * 1000)
        self._client.log_batch(
            run, [Metric(name, value, milliseconds, step) for name, value in figures.items()]
        )

    def close(self, run: str, status: str | None) -> None:
        """See `RunStore`."""
        if status is None:
            self._client.update_run(run, status=RunStatus.to_string(RunStatus.SCHEDULED))
        else:
            final = RunStatus.to_string(STATUSES[Status(status)])
            self._client.set_terminated(run, final, end_time=round(time.time() * 1000))

    def _experiment(self, name: str) -> str:
        """The id of an experiment, which another worker may make at the same time."""
        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                known = self._client.get_experiment_by_name(name)
                if known is None:
                    raise
        return str(known.experiment_id)
