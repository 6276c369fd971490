"""What people do with the page, in a real browser: from a file to a prediction, for every task."""

import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.tasks import TASKS
from tests.support.fixtures.browser import browser_page, check_view, chromium, needs_chromium
from tests.support.fixtures.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_chromium]

SAMPLES = Path(__file__).parents[3] / "app" / "samples"
# What each task's answer looks like, by what is on the page.
ANSWERS = {
    "forecasting": ".chart",
    "classification": ".answer",
    "tagging": ".tagged, .marked",
    "generation": ".written",
    "translation": "table:has-text('Attention')",
    "speech": ".answer",
    "video": ".answer",
    "music": ".roll svg .sound",
}

# What each task's data set shows of an example as a whole, where a table of the examples does not.
EXAMPLES = {
    "forecasting": ".chart",
    "tagging": ".tagged",
    "speech": "audio",
    "video": "video",
    "music": ".roll svg .sound",
}
# Players whose file the browser cannot play.
UNPLAYABLE = """[...document.querySelectorAll("audio, video")].filter((player) =>
    !player.hidden && (player.error || player.readyState < 1)).length"""
# Progress bars that end beyond their card.
STICKING_OUT = """[...document.querySelectorAll("progress")].filter((bar) =>
    bar.getBoundingClientRect().right > bar.closest(".part").getBoundingClientRect().right)
    .map((bar) => bar.outerHTML)"""
FOCUSED = "(document.activeElement.innerText || document.activeElement.type).trim()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def page_url(stack: Stack) -> str:
    """Where the service sends browsers; the page's process starts with the first of them."""
    answer = stack.http.get("/", follow_redirects=False)
    assert answer.status_code == 307
    return str(answer.headers["location"]).rstrip("/")


def upload(page: Page, path: Path, name: str = "") -> None:
    page.goto("/")
    page.get_by_role("heading", name="Train a model on your data").wait_for()
    ready(page)
    page.set_input_files("input[type=file]", path)
    page.get_by_role("button", name="Check and store").wait_for()
    if name:
        page.get_by_label("Name").fill(name)


def ready(page: Page) -> None:
    """Wait until the page listens to its visitor."""
    page.wait_for_function("window.socket === undefined || window.socket.connected")


def train(page: Page, model: str, **fields: str) -> None:
    """Submit the form of a training, and wait until it has made a version."""
    page.get_by_label("Model", exact=True).first.fill(model)
    for label, value in fields.items():
        page.get_by_label(label, exact=False).first.fill(value)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_text("It made").wait_for(timeout=600_000)


def fill_in_an_example(page: Page) -> None:
    page.get_by_label("Fill in an example of its data set").click()
    page.get_by_role("option").first.click()


def predict(page: Page, answer: str) -> None:
    """Ask for the prediction of what is entered, and wait for it."""
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("answered.").wait_for()
    page.locator(answer).first.wait_for()


def media_sample(task: str, directory: Path) -> Path | None:
    """One file of a task's sample, where its instances are files."""
    sample = SAMPLES / TASKS[task].demo.sample
    if sample.suffix != ".zip":
        return None
    with zipfile.ZipFile(sample) as archive:
        endings = (".ogg", ".wav", ".flac", ".mp4", ".mkv", ".avi", ".mid")
        name = next(name for name in archive.namelist() if name.lower().endswith(endings))
        target = directory / Path(name).name
        target.write_bytes(archive.read(name))
    return target


@pytest.mark.parametrize("task", sorted(TASKS))
def test_from_a_file_to_a_prediction(task: str, page_url: str, browser: Browser, tmp_path: Path) -> None:
    model = f"seen-{task}"
    with browser_page(browser, page_url) as page:
        upload(page, SAMPLES / TASKS[task].demo.sample)
        expect(page.get_by_label("Task")).to_have_value(task)
        check_view(page)
        page.get_by_role("button", name="Check and store").click()
        page.wait_for_url("**/datasets/ds_*")
        page.get_by_role("heading", name="As it was understood").wait_for()
        ready(page)
        if task in EXAMPLES:
            page.locator(EXAMPLES[task]).first.wait_for()
            page.wait_for_function(f"{UNPLAYABLE} === 0")
        check_view(page)
        more = {"Horizon": "7"} if task == "forecasting" else {}
        train(page, model, Epochs="1", **{"Hidden size": "16"}, **more)
        check_view(page)
        page.get_by_role("link", name="try it").click()
        page.get_by_role("button", name="Predict").wait_for()
        ready(page)
        if (file := media_sample(task, tmp_path)) is not None:
            page.set_input_files("input[type=file]", file)
            page.get_by_text(f"{file.name},").wait_for()
            predict(page, ANSWERS[task])
        fill_in_an_example(page)
        if file is not None:
            page.locator(".file [role=status]", has_text="iB").or_(
                page.locator(".file [role=status]", has_text="bytes")
            ).first.wait_for()
            page.wait_for_function(f"{UNPLAYABLE} === 0")
        predict(page, ANSWERS[task])
        page.get_by_text("The same without this page").click()
        assert "/predict" in page.locator("pre.code").first.inner_text()
        check_view(page)


def test_versions_aliases_evaluations_and_sweeps(stack: Stack, page_url: str, browser: Browser) -> None:
    dataset = stack.upload()
    for _ in range(2):
        stack.wait(stack.submit(dataset, "side-by-side"))
    with browser_page(browser, page_url) as page:
        page.goto("/models/side-by-side")
        page.get_by_role("columnheader", name="version 2").wait_for()
        ready(page)
        page.get_by_label("Version 2, %").fill("25")
        page.get_by_label("Version 1, %").fill("75")
        page.get_by_role("button", name="Move the alias", exact=True).click()
        page.get_by_text("The alias has moved.").wait_for()
        check_view(page)
        alias = stack.http.get("/v1/models/side-by-side/aliases/production").json()
        assert alias["versions"] == {"1": 0.75, "2": 0.25}
        page.goto("/models/side-by-side/versions/2")
        ready(page)
        page.get_by_label("Windows (of forecasts)").fill("2")
        page.get_by_role("button", name="Evaluate").click()
        page.wait_for_url("**/jobs/job_*")
        page.get_by_text("Paired differences").wait_for()
        page.get_by_role("img", name="Forecast of").wait_for()
        check_view(page)
        page.goto(f"/datasets/{dataset}")
        page.get_by_label("Horizon").fill("3")
        page.get_by_label("Epochs", exact=True).fill("1")
        page.get_by_text("Try several settings").click()
        page.get_by_label("Setting 1").click()
        page.get_by_role("option", name="network.cell").click()
        page.get_by_label("Values 1").fill("lstm, gru")
        page.get_by_label("Seeds").fill("1")
        page.get_by_role("button", name="Start the sweep").click()
        page.wait_for_url("**/jobs/job_*")
        page.get_by_text("It made").wait_for(timeout=600_000)
        expect(page.get_by_role("rowheader", name="1", exact=True)).to_be_visible()
        check_view(page)


def test_a_job_is_followed_and_controlled(stack: Stack, page_url: str, browser: Browser) -> None:
    job = stack.submit(stack.upload(), "patient", training={"epochs": 5_000, "patience": 5_000})
    with browser_page(browser, page_url) as page:
        page.goto(f"/jobs/{job}")
        page.locator(".badge.running").first.wait_for()
        page.get_by_role("heading", name="Curves").wait_for()
        for verb, status in (("Pause", "paused"), ("Resume", "running"), ("Cancel", "cancelled")):
            page.get_by_role("button", name=verb).click()
            page.locator(f".state .badge.{status}").wait_for()
        assert stack.job(job)["status"] == "cancelled"
        page.goto("/board")
        page.get_by_role("heading", name="Workers").wait_for()
        check_view(page)


def test_what_users_write_is_text(stack: Stack, page_url: str, browser: Browser, tmp_path: Path) -> None:
    attack = "<img src=x onerror=document.title='attacked'>"
    rows = "".join(f'"{attack} {index}",{("good", attack)[index % 2]}\n' for index in range(40))
    file = tmp_path / f"{attack.replace('/', '')}.csv"
    file.write_text(f"text,label\n{rows}")
    with browser_page(browser, page_url) as page:
        upload(page, file)
        page.get_by_role("button", name="Check and store").click()
        page.wait_for_url("**/datasets/ds_*")
        page.get_by_role("heading", name="As it was understood").wait_for()
        ready(page)
        train(page, "attacked", Epochs="1")
        page.goto("/models/attacked/versions/1")
        page.get_by_role("heading", name="How good it is").wait_for()
        page.goto("/models/attacked/try")
        ready(page)
        page.get_by_label("Text", exact=True).fill(attack)
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("answered.").wait_for()
        assert page.locator("img[src=x]").count() == 0
        assert "attacked" not in page.title().replace("Try attacked", "")


def test_faults_are_shown_with_their_rows(page_url: str, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text("unique_id,ds,y\na,2020-01-01,1\na,2020-01-02,two\n")
    with browser_page(browser, page_url) as page:
        upload(page, file)
        page.get_by_role("button", name="Check and store").click()
        page.get_by_role("alert").wait_for()
        expect(page.get_by_role("alert")).to_contain_text("row 3, column y")
        check_view(page)


def test_columns_are_guessed_and_a_missing_one_is_asked_for(
    page_url: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "shop.csv"
    file.write_text(
        "date,store,sales\n"
        + "".join(f"2020-01-{day:02},{name},{day}\n" for name in "ab" for day in range(1, 31))
    )
    with browser_page(browser, page_url) as page:
        upload(page, file)
        for role, column in (("ds (required)", "date"), ("y (required)", "sales"), ("unique_id", "store")):
            expect(page.get_by_label(role, exact=True)).to_have_value(column)
        check_view(page)
        page.get_by_label("y (required)", exact=True).click()
        page.get_by_role("option", name="–").click()
        page.get_by_role("button", name="Check and store").click()
        expect(page.get_by_role("alert")).to_contain_text("choose the column above")
        page.get_by_label("y (required)", exact=True).click()
        page.get_by_role("option", name="sales").click()
        page.get_by_role("button", name="Check and store").click()
        page.wait_for_url("**/datasets/ds_*")
        page.get_by_role("heading", name="Train a model").wait_for()
        ready(page)
        page.get_by_role("button", name="Delete the data set").click()
        page.get_by_role("alertdialog").wait_for()
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("alertdialog").wait_for(state="hidden")
        page.get_by_role("button", name="Delete the data set").click()
        page.get_by_role("button", name="Delete it", exact=True).click()
        page.wait_for_url("**/datasets")


def test_a_wrong_input_leaves_no_older_answer(stack: Stack, page_url: str, browser: Browser) -> None:
    stack.wait(stack.submit(stack.upload(), "corrected"))
    with browser_page(browser, page_url) as page:
        page.goto("/models/corrected/try")
        page.get_by_role("button", name="Predict").wait_for()
        ready(page)
        page.get_by_label("Values (required)").fill("1, 2, 3, 4, 5, 6, 7, 8")
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("answered.").wait_for()
        page.get_by_label("Values (required)").fill("1, 2, hello")
        page.get_by_role("button", name="Predict").click()
        expect(page.get_by_role("alert")).to_contain_text("hello is not a number (item 3)")
        expect(page.get_by_text("answered.")).to_have_count(0)


def test_a_recording_by_the_microphone(stack: Stack, page_url: str, browser: Browser) -> None:
    models = stack.http.get("/v1/models").json()["data"]
    if "seen-speech" not in {model["name"] for model in models}:
        pytest.skip("the flow of speech has made no model")
    with browser_page(browser, page_url.replace("127.0.0.1", "localhost")) as page:
        page.goto("/models/seen-speech/try")
        ready(page)
        page.get_by_role("button", name="Record").click()
        page.get_by_text("Recording…").wait_for()
        page.wait_for_timeout(1_500)
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("recording.", exact=False).wait_for()
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("answered.").wait_for()


def test_words_appear_while_they_are_spoken(stack: Stack, page_url: str, browser: Browser) -> None:
    models = stack.http.get("/v1/models").json()["data"]
    if "seen-speech" not in {model["name"] for model in models}:
        pytest.skip("the flow of speech has made no model")
    with browser_page(browser, page_url.replace("127.0.0.1", "localhost")) as page:
        page.goto("/models/seen-speech/try")
        ready(page)
        page.get_by_role("button", name="Listen live").click()
        page.get_by_text("Listening…").wait_for()
        page.locator(".file .written").wait_for(state="attached")  # while it is recorded
        page.get_by_role("button", name="Stop listening").click()
        page.get_by_role("heading", name="What was heard").wait_for()
        page.get_by_role("button", name="Listen live").wait_for()
        check_view(page)


def test_a_version_forecasts_what_is_held_back(stack: Stack, page_url: str, browser: Browser) -> None:
    stack.wait(stack.submit(stack.upload(), "held-back"))
    with browser_page(browser, page_url) as page:
        page.goto("/models/held-back/versions/1")
        part = page.locator("section.part", has_text="Forecasts beside what came")
        part.get_by_role("img", name="Forecast of s0").wait_for()
        part.get_by_text("In numbers", exact=True).click()
        part.get_by_role("columnheader", name="actual").wait_for()
        part.get_by_label("Series").click()
        page.get_by_role("option", name="2: s1").click()
        part.get_by_role("img", name="Forecast of s1").wait_for()
        check_view(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 2_000])
def test_every_view_fits_and_is_accessible(
    width: int, theme: str, stack: Stack, page_url: str, browser: Browser
) -> None:
    dataset = stack.upload()
    job = stack.submit(dataset, "fitting", training={"epochs": 1})
    stack.wait(job)
    paths = (
        "/", "/datasets", f"/datasets/{dataset}", "/jobs", f"/jobs/{job}", "/models", "/models/fitting",
        "/models/fitting/versions/1", "/models/fitting/try", "/board", "/key", "/jobs/job_none",
        "/nonsense",
    )  # fmt: skip
    with browser_page(browser, page_url, width, theme) as page:
        for path in paths:
            page.goto(path)
            page.locator("h1, [role=alert]").first.wait_for()
            ready(page)
            check_view(page)
            assert page.evaluate(STICKING_OUT) == []
        is_dark = page.evaluate("document.body.classList.contains('body--dark')")
        assert is_dark == (theme == "dark")


def test_the_keyboard_is_enough(page_url: str, browser: Browser) -> None:
    with browser_page(browser, page_url) as page:
        page.goto("/")
        ready(page)
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        names = []
        for _ in range(9):
            page.keyboard.press("Tab")
            names.append(page.evaluate(FOCUSED))
        assert names[:7] == ["Recurra", "New model", "Data", "Jobs", "Models", "Board", "Key"]
        assert "file" in names


def test_a_page_that_dies_takes_nothing_along(stack: Stack, page_url: str, browser: Browser) -> None:
    with browser_page(browser, page_url) as page:
        page.goto("/jobs")
        ready(page)
        page.evaluate("window.isOld = true")
        os.kill(stack.process("app.page.main"), signal.SIGKILL)
        assert stack.http.get("/healthz").status_code == 200
        page.wait_for_function("window.isOld === undefined")  # a tab loads itself anew from the next process
        page.get_by_role("heading", name="Jobs").wait_for()
