"""The Celery client: sends wake-ups to workers over Redis, and counts those no worker has received."""

import logging
from urllib.parse import urlsplit

import celery

from app.errors import Unavailable
from app.infrastructure.outages import OutageLog

log = logging.getLogger(__name__)

TRAIN, SERVE = "train", "serve"  # roles of workers; the queue of each role has its name
ANYWHERE = ("auto", "cpu")  # what a job may ask for to be run by every worker
WAKE_UP_TASK = "recurra.train"  # name of the only Celery task
KEY_PREFIX = "recurra:"  # of the keys in Redis


def celery_url(redis_url: str) -> str:
    """Return a Redis URL in Celery's spelling."""
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host=0"
    return redis_url


def make_celery(redis_url: str, prefix: str = KEY_PREFIX) -> "celery.Celery":
    """Return the application of both sides: JSON only, no result backend, no late acknowledgement.

    Late acknowledgement would start a long job again after the visibility timeout. Here a lost message costs
    nothing, because the job's row is the truth and the dispatcher sends wake-ups again.
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
        broker_connection_max_retries=None,  # a worker waits for Redis however long that takes
    )
    return app


def queue_of(device: str) -> str:
    """Return the queue of wake-ups for jobs that ask for this device; what every worker has shares one."""
    return TRAIN if device in ANYWHERE else f"{TRAIN}-{device}"


class Broker:
    """Sends wake-ups; a failure is only logged, because a dispatch pass sends the wake-up again."""

    def __init__(self, redis_url: str, prefix: str = KEY_PREFIX) -> None:
        self._app = make_celery(redis_url, prefix)
        self._outage = OutageLog(log, "could not notify workers of a queued job")

    def notify(self, job_id: str, device: str = "auto") -> bool:
        """Wake up a training worker that has the device a queued job asks for.

        False when the broker cannot be reached.
        """
        try:
            self._app.send_task(
                WAKE_UP_TASK,
                args=[job_id],
                queue=queue_of(device),
                ignore_result=True,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.05},
            )
        except Exception as error:  # noqa: BLE001 - whatever the client raises, a dispatch pass tries again
            self._outage.failed(error)
            return False
        self._outage.worked()
        return True

    def pending(self, device: str = "auto") -> int:
        """Return how many wake-ups for a device no worker has received.

        Raises `Unavailable` without the broker.
        """
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.05)
                with connection.channel() as channel:
                    return int(channel.queue_declare(queue_of(device), durable=True).message_count)
        except Exception as error:
            raise Unavailable(f"The broker cannot be reached: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
