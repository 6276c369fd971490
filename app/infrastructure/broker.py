"""The only Celery client of the web process: it rings doorbells, and knows how many wait."""

import logging
from urllib.parse import urlsplit

import celery

from app.errors import Unavailable

log = logging.getLogger(__name__)

TRAIN, SERVE = "train", "serve"  # queues
TRAIN_JOB = "recurra.train"  # the doorbell's task
PREFIX = "recurra:"


def celery_url(redis_url: str) -> str:
    """The same server in Celery's spelling."""
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host=0"
    return redis_url


def make_celery(redis_url: str, prefix: str = PREFIX) -> "celery.Celery":
    """The application both sides share: JSON only, no result backend, no late acknowledgement.

    Late acknowledgement would start a long job again after the visibility timeout; here a lost message
    costs nothing, because the job's row is the truth and queued rows are rung again.
    """
    app = celery.Celery("recurra", broker=celery_url(redis_url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue=TRAIN,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": prefix,
            "socket_timeout": 5,
            "socket_connect_timeout": 0.5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


class Broker:
    """Publishes job ids; a failed ring is only logged, because the sweep rings again."""

    def __init__(self, redis_url: str, prefix: str = PREFIX) -> None:
        self._app = make_celery(redis_url, prefix)

    def ring(self, job_id: str) -> bool:
        """Tell the training workers that a job is queued; False when the broker cannot be reached."""
        try:
            self._app.send_task(
                TRAIN_JOB,
                args=[job_id],
                queue=TRAIN,
                ignore_result=True,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.05},
            )
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the sweep will ring again
            log.warning("could not ring for %s: %s", job_id, error)
            return False
        return True

    def waiting(self) -> int:
        """How many doorbells no worker has taken yet; raises `Unavailable` when the broker is away."""
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.05)
                with connection.channel() as channel:
                    return int(channel.queue_declare(TRAIN, durable=True).message_count)
        except Exception as error:
            raise Unavailable(f"The broker cannot be reached: {error}") from error

    def close(self) -> None:
        """Drop the connections."""
        self._app.close()
