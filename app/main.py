"""The composition root of the web process: `uvicorn --factory app.main:create_app`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fastapi import Depends, FastAPI
from sqlalchemy import Engine

from app.api import RAW, ROUTERS, problems
from app.api.access.declared import declared_by
from app.api.access.identity import AccessControl, authorize
from app.api.deps import AppState, Limits, ModelNotices, Projects, refuse_unknown_query
from app.api.metrics_text import own_text
from app.api.middleware import RequestIdMiddleware
from app.api.raw import Application
from app.database.engine import make_engine, make_readers, make_sessions
from app.database.projects import ALL_PROJECTS, DEFAULT_PROJECT
from app.infrastructure import logs
from app.infrastructure.broker import Broker
from app.infrastructure.events.job_events import JobFollower
from app.infrastructure.notices import Notices
from app.infrastructure.processes.siblings import Siblings
from app.infrastructure.processes.stop_signals import before_stopping
from app.infrastructure.storage import Storage
from app.ingest.limits import ArchiveLimits, FileLimits
from app.ingest.memory_budget import MemoryBudget
from app.lanes import Lane, explanation_lane
from app.media.decoder import limit_decoding
from app.media.limits import MediaLimits
from app.services.access.authentication import Authenticator
from app.services.access.rates import RequestRates
from app.services.jobs.dispatcher import Dispatcher
from app.services.serving.explanations import MAX_WAITING, MAX_WAITING_SECONDS, ExplanationService
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import PredictionService
from app.services.serving.shadowing import ShadowRunner
from app.services.serving.version_router import VersionRouter
from app.services.webhooks.targets import AllowedTargets
from app.settings import KEYS, Settings
from app.validation.origins import SitePolicy

STORE_RETRY_SECONDS = 15.0  # that a client waits for a store that is away, before it gets 503
SENDER = "app.services.webhooks.sender"  # the module
SIBLING_NAME_BYTES = 32  # of the name of a socket, which has two process ids
DESCRIPTION = "Train and serve recurrent networks: upload sequences, submit a job, poll it, call the model."


@dataclass(frozen=True)
class ProcessGroup:
    """Processes that serve together, of which each knows the metrics of all."""

    leader: int  # the id of the process that they have in common: their parent, or one of them
    name: Callable[[int], str] = str  # of the process with an id


def create_app(settings: Settings | None = None, group: ProcessGroup | None = None) -> Application:
    """Build the application; `settings` default to those of the environment.

    `group` are the processes that serve together, if there are several.
    """
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure(settings.log_level)
        loop = asyncio.get_running_loop()
        async with open_state(settings, group) as shared:
            app.state.shared = shared
            # Otherwise the server would wait for those who wait for a job, and then end them with an error.
            with before_stopping(lambda: loop.call_soon_threadsafe(shared.follower.release)):
                yield

    declared = {name: access for router in ROUTERS for name, access in declared_by(router).items()}
    app = Application(
        RAW,
        SitePolicy(settings.host_names),
        declared if settings.auth == KEYS else None,
        title="Recurra",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # see `app.api.documentation`
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(authorize), Depends(refuse_unknown_query)])
    problems.install(app)
    app.add_middleware(RequestIdMiddleware)
    return app


@asynccontextmanager
async def open_state(settings: Settings, group: ProcessGroup | None) -> AsyncIterator[AppState]:
    """Connect everything that the routes share, and disconnect it afterwards."""
    incoming = settings.data_dir.resolve() / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.database)
    broker = Broker(settings.redis, settings.redis_prefix)
    projects = _make_projects(settings, engine, broker, group)
    shared = projects.state(DEFAULT_PROJECT)
    notices = shared.notices.notices
    await shared.lane.start()
    await shared.explanations.lane.start()
    await notices.start()
    shared.dispatcher.start()
    sender = _webhook_sender(engine, shared.webhook_targets)
    if shared.siblings is not None:
        await shared.siblings.start()
    try:
        yield shared
    finally:
        if shared.siblings is not None:
            await shared.siblings.close()
        await shared.follower.close()
        await notices.close()
        if shared.access is not None:
            await shared.access.authenticator.close()
        await projects.close()
        await shared.lane.close()
        await shared.explanations.lane.close()
        shared.dispatcher.stop()
        if sender is not None:
            sender.stop()
        broker.close()
        engine.dispose()


def _webhook_sender(engine: Engine, targets: AllowedTargets) -> Any:
    """What sends to webhooks, started; None where they are off, so that its client of HTTP is not loaded."""
    if not targets.any:
        return None
    sender = import_module(SENDER).WebhookSender(make_sessions(engine, ALL_PROJECTS), targets)
    sender.start()
    return sender


def _make_projects(
    settings: Settings, engine: Engine, broker: Broker, group: ProcessGroup | None
) -> Projects:
    """Build what all projects share."""
    limits = _limits(settings)
    everything, storage = make_sessions(engine, ALL_PROJECTS), Storage(settings.storage, STORE_RETRY_SECONDS)
    readers = make_readers(engine, ALL_PROJECTS)
    dispatcher, follower = Dispatcher(everything, broker), JobFollower(readers)
    lane = Lane(settings.redis, settings.lane, settings.max_waiting, settings.max_queue_seconds)
    explaining = Lane(settings.redis, explanation_lane(settings.lane), MAX_WAITING, MAX_WAITING_SECONDS)
    rates = RequestRates(settings.redis, settings.redis_prefix)
    access = AccessControl(Authenticator(readers, rates), everything) if settings.auth == KEYS else None
    incoming = settings.data_dir.resolve() / "incoming"
    targets = AllowedTargets(*settings.webhook_targets)

    def make(project: str) -> AppState:
        own_readers = make_readers(engine, project)
        versions, metrics = VersionRouter(own_readers, storage), PredictionMetrics(lane)
        return AppState(
            project=project,
            sessions=make_sessions(engine, project),
            readers=own_readers,
            storage=storage,
            dispatcher=dispatcher,
            follower=follower,
            predictions=PredictionService(lane, versions, metrics, ShadowRunner(lane)),
            explanations=ExplanationService(explaining, versions, metrics),
            notices=ModelNotices(notices, project),
            limits=limits,
            incoming=incoming,
            webhook_targets=targets,
            projects=projects,
            siblings=siblings,
            access=access,
            page_url=settings.page_url,
        )

    projects = Projects(make)
    notices = Notices(settings.redis, settings.redis_prefix, projects.forget, projects.distrust)
    siblings = None if group is None else _siblings(settings, group, projects)
    return projects


def _limits(settings: Settings) -> Limits:
    """The limits of requests and files; those of media hold in this process from now on."""
    files = FileLimits(
        ArchiveLimits(**settings.limits("archive")),
        MediaLimits(**settings.limits("media")),
        MemoryBudget(settings.ingest_memory_bytes),
    )
    limit_decoding(files.media)
    return Limits(settings.max_upload_bytes, settings.max_request_bytes, settings.ingest_seconds, files)


def _siblings(settings: Settings, group: ProcessGroup, projects: Projects) -> Siblings:
    prefix = f"{settings.socket_prefix(SIBLING_NAME_BYTES)}api-{group.leader}-"
    return Siblings(prefix, lambda project: own_text(projects.state(project).predictions.metrics), group.name)
