"""One chain for both databases: up, down, up again, and no difference to the tables."""

import threading

import pytest
from sqlalchemy import Engine, inspect

from app.database.engine import Base, make_engine
from app.database.migrate import NewerDatabase, downgrade, is_current, schema_differences, upgrade

SINGLE, SPLIT = "baf3be129779", "5d0c7e1f2a94"  # before and after aliases had shares
WITHOUT_PROJECTS = "71e4d9a3c5f0"
SWEEPLESS = "8c41d6a07be3"  # before there were sweeps


def test_a_migrated_database_is_what_the_tables_say(engine: Engine) -> None:
    assert schema_differences(engine) == []
    assert is_current(engine)


def test_down_and_up_again(engine: Engine) -> None:
    try:
        downgrade(engine)
        assert not is_current(engine)
        assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    finally:
        upgrade(engine)
    assert schema_differences(engine) == []
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}


def test_aliases_keep_their_version_through_shares_and_back(engine: Engine) -> None:
    def rows(query: str) -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def write(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    try:
        downgrade(engine, SINGLE)
        write(
            "insert into models (name, id, task, versions) values ('m', 'model_1', 'forecasting', 2)",
            "insert into aliases (model, alias, version) values ('m', 'production', 2)",
        )
        upgrade(engine, SPLIT)
        assert rows("select model, alias, version, split, shadow from aliases") == [
            ("m", "production", 2, None, None)
        ]
        write("""update aliases set split = '{"1": 0.4, "2": 0.6}', shadow = 3""")
        downgrade(engine, SINGLE)
        assert rows("select model, alias, version from aliases") == [("m", "production", 2)]
        write("insert into aliases (model, alias, version) values ('m', 'canary', 1)")
        assert all(isinstance(moment, float) for (moment,) in rows("select updated_at from aliases"))
        write("delete from models where name = 'm'")  # the foreign key still takes the aliases along
        assert rows("select alias from aliases") == []
    finally:
        upgrade(engine)


def insert_job(engine: Engine, job_id: str, kind: str, *, sweep: str | None = None) -> None:
    """A queued job with an event, in the newest schema."""
    columns = "id, kind, task, dataset_id, model, network, training, options, metadata, status, revision"
    run_of = "null" if sweep is None else f"'{sweep}'"
    rest = f"'t', 'd', 'm', '{{}}', '{{}}', '{{}}', '{{}}', 'queued', 1, 1, 0, 0, {run_of}"
    event = f"'{job_id}', 1, 'status', '{{}}'"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"insert into jobs ({columns}, events, attempt, crashes, sweep_id) "  # noqa: S608
            f"values ('{job_id}', '{kind}', {rest})"
        )
        connection.exec_driver_sql(
            f"insert into job_events (job_id, seq, type, data) values ({event})"  # noqa: S608
        )


def test_an_older_release_finds_no_sweep(engine: Engine) -> None:
    """Its workers would take one for a training; the runs, which are trainings, stay."""
    try:
        upgrade(engine)
        insert_job(engine, "job_s", "sweep")
        insert_job(engine, "job_r", "train", sweep="job_s")
        downgrade(engine, SWEEPLESS)
        with engine.connect() as connection:
            assert [row[0] for row in connection.exec_driver_sql("select id from jobs")] == ["job_r"]
            assert [row[0] for row in connection.exec_driver_sql("select job_id from job_events")] == [
                "job_r"
            ]
    finally:
        upgrade(engine)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("select sweep_id from jobs").all() == [(None,)]
        assert connection.exec_driver_sql("select job_id from job_events").all() == [("job_r",)]
        connection.exec_driver_sql("delete from jobs")


def test_events_outlive_the_way_down_through_the_budget_of_failures(engine: Engine) -> None:
    """On SQLite a table that is made anew takes the rows along that refer to it."""
    try:
        insert_job(engine, "job_1", "train")
        downgrade(engine, SPLIT)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("select job_id from job_events").all() == [("job_1",)]
    finally:
        upgrade(engine)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("select id, failures from jobs").all() == [("job_1", 0)]
        connection.exec_driver_sql("delete from jobs")


def test_a_schema_difference_is_reported(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql("alter table models add column stray integer")
        assert schema_differences(engine) != []


def test_the_database_of_a_newer_release_is_told_as_such(engine: Engine) -> None:
    with engine.begin() as connection:
        (known,) = connection.exec_driver_sql("select version_num from alembic_version").scalars()
        connection.exec_driver_sql("update alembic_version set version_num = 'ffff00001111'")
    try:
        with pytest.raises(NewerDatabase, match="newer release of Recurra, to ffff00001111"):
            upgrade(engine)
        assert not is_current(engine)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"update alembic_version set version_num = '{known}'")  # noqa: S608
    assert is_current(engine)


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
    for engine in engines:
        engine.dispose()


def test_projects_on_the_way_up_and_down(engine: Engine) -> None:
    """What exists is the default project's; on the way down, models of the same name are told apart."""

    def rows(query: str) -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    models = "select name from models order by name"
    children = "select model, version from model_versions order by model"
    version = "'d', 't', '{}', '{}', 1, '{}', '{}', 'a', 1, '0'"
    columns = (
        "model, version, job_id, dataset_id, task, network, options, parameters, metrics, baseline, "
        "artifact, bytes, sha256"
    )
    try:
        downgrade(engine, WITHOUT_PROJECTS)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "insert into models (name, id, task, versions) values ('m', '1', 't', 1)"
            )
            connection.exec_driver_sql(
                f"insert into model_versions ({columns}) values ('m', 1, 'j1', {version})"  # noqa: S608
            )
            connection.exec_driver_sql("insert into aliases (model, alias, version) values ('m', 'p', 1)")
        upgrade(engine)
        assert rows("select project, name from models") == [("default", "m")]
        assert rows("select project, model, version from model_versions") == [("default", "m", 1)]
        assert rows("select project, model, version from aliases") == [("default", "m", 1)]
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "insert into models (project, name, id, task, versions) values ('b', 'm', '2', 't', 1)"
            )
            connection.exec_driver_sql(
                f"insert into model_versions (project, {columns}) "  # noqa: S608
                f"values ('b', 'm', 2, 'j2', {version})"
            )
        downgrade(engine, WITHOUT_PROJECTS)
        assert rows(models) == [("m",), ("m-b-1",)]
        assert rows(children) == [("m", 1), ("m-b-1", 2)]
        assert rows("select id from models order by name") == [("1",), ("2",)]
        with engine.begin() as connection:
            connection.exec_driver_sql("delete from models")
        assert rows(children) == []
    finally:
        upgrade(engine)
