"""One chain for both databases: up, down, up again, and no difference to the tables."""

import threading

from sqlalchemy import Engine, inspect

from app.db import Base, make_engine
from app.migrate import downgrade, drift, is_current, upgrade


def test_a_migrated_database_is_what_the_tables_say(engine: Engine) -> None:
    assert drift(engine) == []
    assert is_current(engine)


def test_down_and_up_again(engine: Engine) -> None:
    try:
        downgrade(engine)
        assert not is_current(engine)
        assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    finally:
        upgrade(engine)
    assert drift(engine) == []
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}


def test_drift_is_seen(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql("alter table models add column stray integer")
        assert drift(engine) != []


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    engines = [make_engine(database_url) for _ in range(3)]
    failures: list[BaseException] = []

    def run(engine: Engine) -> None:
        try:
            upgrade(engine)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
    downgrade(engines[0])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_current(engines[0])
    for engine in engines:
        engine.dispose()
