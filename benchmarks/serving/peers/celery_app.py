"""The Celery worker of the RPC peer: one process, one task a request, results in Redis."""

import os

from celery import Celery
from celery.signals import worker_init

from benchmarks.serving.peers.network import Network, array, tensor

app = Celery("rpc", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.update(task_ignore_result=False, result_expires=60, broker_connection_retry_on_startup=True)
loaded: list[Network] = []


@worker_init.connect
def load(**_: object) -> None:
    """Load the network before the first task."""
    loaded.append(Network())


@app.task
def infer(arguments: dict) -> dict:
    """One tensor to one tensor."""
    return tensor(loaded[0].run(array(arguments)[None])[0])
