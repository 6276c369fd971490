"""Every view is built on what the API answers, escapes what users have written, and survives refusals."""

import html
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.services.access.callers import Scope
from tests.support.factories import clips, music
from tests.support.fixtures.page import running_page
from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, monthly, service

ATTACK = "<img src=x onerror=alert(1)>"
COMMON_HEADERS = {"content-security-policy", "referrer-policy", "x-content-type-options"}


@pytest.fixture(scope="module")
def page(untouched: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("page")
    with (
        running_page(str(untouched.http.base_url), directory / "page.log") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield client
    assert "raceback" not in (directory / "page.log").read_text()


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text[-3_000:]
    return answer.text


def test_views_without_anything(page: httpx.Client) -> None:
    for path in ("/", "/datasets", "/jobs", "/models", "/board", "/key"):
        answer = page.get(path)
        assert "&lt;h1&gt;" in text_of(answer), path
        assert answer.headers.keys() >= COMMON_HEADERS


def test_views_of_what_there_is(page: httpx.Client, untouched: Service, tmp_path: Path) -> None:
    stored = untouched.upload(monthly().replace(b"s0", b"<b>s0</b>"), f"{ATTACK}.csv")
    dataset = stored.json()["id"]
    job = untouched.job(dataset=dataset, metadata={"note": ATTACK})
    number = untouched.finish(untouched.claim(job), tmp_path)
    for path in (
        "/", "/datasets", f"/datasets/{dataset}", "/jobs", f"/jobs/{job}", "/models", "/models/demand",
        f"/models/demand/versions/{number}", "/models/demand/try", f"/models/demand/try?version={number}",
        "/board",
    ):  # fmt: skip
        text = text_of(page.get(path))
        assert ATTACK not in text, path
        assert "<b>s0</b>" not in text, path
        assert 'class=\\"refusal\\"' not in text, path
    version = text_of(page.get(f"/models/demand/versions/{number}"))
    assert "Forecasts beside what came" in version
    assert "may have learned from the very values" in version


def test_a_long_series_is_drawn_as_a_whole(page: httpx.Client, untouched: Service) -> None:
    line = {"item_id": "long", "start": "2020-01-01", "freq": "D", "target": list(range(500))}
    dataset = untouched.upload(json.dumps(line).encode(), "long.jsonl").json()["id"]
    text = text_of(page.get(f"/datasets/{dataset}"))
    assert "long: 500 steps" in text
    assert "its beginning only" not in text
    assert "2021-05-14" in text  # the last day


def test_examples_that_are_files_are_played(page: httpx.Client, untouched: Service) -> None:
    dataset = untouched.upload(clips.sides(8), "sides.zip", task="video").json()["id"]
    text = html.unescape(text_of(page.get(f"/datasets/{dataset}")))
    (path,) = set(re.findall(r"<video controls src='([^']*)'", text))
    clip = page.get(path)
    assert (clip.status_code, clip.headers["content-type"]) == (200, "video/mp4")
    with zipfile.ZipFile(io.BytesIO(clips.sides(8))) as archive:
        assert clip.content == archive.read("clips/000.mp4")
    part = page.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    pieces = untouched.upload(music.archive({"one.mid": music.chorale(0)}), "one.zip", task="music")
    assert "Piano roll: " in text_of(page.get(f"/datasets/{pieces.json()['id']}"))


def test_only_sound_and_pictures_are_sent_back(page: httpx.Client) -> None:
    for name, status in (("a.wav", 200), ("a.html", 404), ("a.svg", 404), ("a", 404)):
        token = page.post("/files", content=b"<script>", headers={"X-File-Name": name}).json()["token"]
        assert page.get(f"/files/{token}").status_code == status, name
    assert page.get("/files/unknown").status_code == 404


def test_what_is_not_there_is_named(page: httpx.Client) -> None:
    for path in (
        "/datasets/ds_x",
        "/jobs/job_x",
        "/models/none",
        "/models/none/versions/1",
        "/models/none/try",
    ):
        assert "There is no" in text_of(page.get(path)), path
    missing = page.get("/nothing")
    assert missing.status_code == 404
    for part in ("There is no such page", "Go to the first page", "New model"):
        assert part in missing.text
    assert "HTTPException" not in missing.text
    assert "There is no such page" not in page.get("/static/none.css").text


def test_behind_a_proxy_all_paths_are_below_its_own(page: httpx.Client) -> None:
    for path in ("/", "/jobs", "/key"):
        text = text_of(page.get(path, headers={"X-Forwarded-Prefix": "/tools/recurra"}))
        local = re.findall(r"""(?:href|src|action)=\\?["']([^"'\\]*)""", text.replace("&quot;", '"'))
        assert len(local) > 5
        assert [
            link for link in local if link.startswith("/") and not link.startswith("/tools/recurra/")
        ] == []


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_other_sites_are_refused(page: httpx.Client, header: dict[str, str]) -> None:
    for path in ("/", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
        assert page.get(path, headers=header).status_code in (403, 421)
    assert page.post("/files", content=b"x", headers=header).status_code in (403, 421)
    assert page.post("/key", data={"key": ""}, headers=header).status_code in (403, 421)


def test_files_are_taken_and_bounded(untouched: Service, tmp_path: Path) -> None:
    url = str(untouched.http.base_url)
    with running_page(url, tmp_path / "log", RECURRA_MAX_UPLOAD_BYTES="1000") as page_url:
        taken = httpx.post(f"{page_url}/files", content=b"x" * 1_000, headers={"X-File-Name": "a%20b.csv"})
        assert re.fullmatch(r"[\w-]{32}", taken.json()["token"])
        assert httpx.post(f"{page_url}/files", content=b"x" * 1_001).status_code == 413


def test_a_service_that_is_away_is_named(tmp_path: Path) -> None:
    with running_page("http://127.0.0.1:9", tmp_path / "log") as url:
        for path in ("/", "/jobs", "/board"):
            assert "does not answer" in text_of(httpx.get(f"{url}{path}", timeout=60))
        answer = httpx.post(f"{url}/key", data={"key": "rk_any"})
        assert answer.headers["location"] == "./key?note=unreachable"


def test_keys_stay_in_the_process(tmp_path: Path, sqlite_template: Path, redis_server: Valkey) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", redis_server.url, auth="keys") as running:
        _, key = running.made_key("default", Scope.READ)
        log = tmp_path / "page.log"
        with (
            running_page(str(running.http.base_url), log, RECURRA_AUTH="keys") as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            assert "needs a key" in text_of(client.get("/jobs"))
            assert client.post("/files", content=b"x").status_code == 401
            assert client.post("/key", data={"key": "rk_wrong"}).headers["location"] == "./key?note=refused"
            answer = client.post("/key", data={"key": key})
            assert answer.status_code == 303
            assert key not in str(answer.headers)
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            shown = text_of(client.get("/jobs"))
            assert "needs a key" not in shown
            answer = client.post("/files", content=b"x", headers={"X-File-Name": "x.wav"})
            path = f"/files/{answer.json()['token']}"
            assert client.get(path).status_code == 200
            assert httpx.get(f"{url}{path}").status_code == 401
            assert key not in shown
            with httpx.Client(base_url=url, timeout=60) as stranger:
                assert "needs a key" in text_of(stranger.get("/jobs"))
            client.post("/key", data={"key": ""})
            assert "needs a key" in text_of(client.get("/jobs"))
        assert key not in log.read_text()
