"""The web process's composition root: builds everything, wires it, and knows nothing else.

`uvicorn --factory app.main:create_app`
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import RAW, ROUTERS, problems
from app.api.deps import House, Limits
from app.api.middleware import Traced
from app.api.raw import Application
from app.database.engine import make_engine, make_readers, make_sessions
from app.infrastructure import logs
from app.infrastructure.broker import Broker
from app.infrastructure.job_events import Follower
from app.infrastructure.notices import Notices
from app.infrastructure.storage import Storage
from app.lanes import Lane
from app.services.jobs.dispatcher import Dispatcher
from app.services.serving.metrics import Meters
from app.services.serving.predictions import Plane
from app.services.serving.shadowing import Shadows
from app.services.serving.version_router import Catalog
from app.settings import Settings

DESCRIPTION = "Train and serve recurrent networks: upload sequences, submit a job, poll it, call the model."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure(settings.log_level)
        async with _house(settings) as house:
            app.state.house = house
            yield

    app = Application(
        RAW,
        title="Recurra",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Traced)
    return app


@asynccontextmanager
async def _house(settings: Settings) -> AsyncIterator[House]:
    incoming = settings.data_dir.resolve() / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.database)
    sessions, readers = make_sessions(engine), make_readers(engine)
    storage = Storage(settings.storage)
    broker = Broker(settings.redis, settings.redis_prefix)
    catalog = Catalog(readers, storage)
    house = House(
        sessions=sessions,
        readers=readers,
        storage=storage,
        dispatcher=Dispatcher(sessions, broker),
        follower=Follower(readers),
        plane=_plane(settings, catalog),
        notices=Notices(settings.redis, settings.redis_prefix, catalog.forget, catalog.forget_all),
        limits=Limits(settings.max_upload_bytes, settings.max_request_bytes, settings.ingest_seconds),
        incoming=incoming,
    )
    await house.lane.start()
    await house.notices.start()
    house.dispatcher.start()
    try:
        yield house
    finally:
        await house.follower.close()
        await house.notices.close()
        await house.plane.shadows.close()
        await house.lane.close()
        house.dispatcher.stop()
        broker.close()
        engine.dispose()


def _plane(settings: Settings, catalog: Catalog) -> Plane:
    lane = Lane(settings.redis, settings.lane, settings.max_waiting, settings.max_queue_seconds)
    return Plane(lane, catalog, Meters(lane), Shadows(lane))
