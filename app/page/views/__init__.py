"""The views of the page; importing them registers them."""

from app.page.views.board import board_view
from app.page.views.datasets import dataset_list, dataset_view
from app.page.views.home import home
from app.page.views.jobs import job_list, job_view
from app.page.views.keys import key_view
from app.page.views.models import model_list, model_view, version_view
from app.page.views.trying import try_view

VIEWS = (
    home, dataset_list, dataset_view, job_list, job_view, model_list, model_view, version_view, try_view,
    board_view, key_view,
)  # fmt: skip
