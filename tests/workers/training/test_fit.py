import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.arrays import Ints
from app.tasks.contract import Batch, Input, Output
from workers.diagnostics.probe import probe_epochs
from workers.nn import Member, ModelConfig
from workers.nn.model import SequenceModel
from workers.outputs import build
from workers.outputs.split_order import ordered_batches
from workers.training.batches import TrainingBatches, count_losses, shuffled
from workers.training.fit import FitResult, RefitPlan, Validation, fit, mean_loss
from workers.training.loop import Loop, TrainingConfig, TrainingDiverged
from workers.training.schedules import SCHEDULES

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=6, batch_size=16, learning_rate=0.02, seed=5, patience=6)


class Sums:
    """Targets are the running mean of the inputs; `wrong` turns the sign, as data of another kind would."""

    def __init__(self, count: int = 64, sign: float = 1.0, fill: float = 0.0) -> None:
        rng = np.random.default_rng(count)
        self.lengths: Ints = rng.integers(4, 12, count)
        self.carried = False
        self._inputs = rng.normal(size=(count, 12, 2)).astype(np.float32) + np.float32(fill)
        self._sign = sign

    def batch(self, rows: Ints, rng: np.random.Generator | None) -> Batch:
        time = int(self.lengths[rows].max())
        inputs = self._inputs[rows, :time]
        noise = 0.0 if rng is None else 0.01 * rng.normal(size=(len(rows), time, 1))
        means = np.cumsum(inputs.sum(axis=2), axis=1)[:, :, None] / np.arange(1, time + 1)[:, None]
        weights = (np.arange(time) < self.lengths[rows][:, None])[:, :, None]
        return Batch(
            inputs,
            self.lengths[rows],
            (self._sign * means + noise).astype(np.float32),
            weights.astype(np.float32),
        )


def network(cell: str = "gru", dropout: float = 0.1) -> Member:
    config = ModelConfig(
        Input.VECTORS, Output.QUANTILES, 2, 1, cell, 1, 12, dropout=dropout, quantiles=(0.5,)
    )
    return build(config, 0)


def train(
    config: TrainingConfig = CONFIG,
    valid: Sums | None = None,
    stop: Callable[[], bool] = lambda: False,
    refit: RefitPlan | None = None,
) -> tuple[FitResult, Member, list[dict[str, Any]]]:
    torch.set_num_threads(1)
    model, events = network(), list[dict[str, Any]]()
    found = fit(
        model,
        Sums(),
        valid or Sums(20),
        config,
        device=CPU,
        on=events.append,
        should_stop=stop,
        refit=refit,
        event_fields={"phase": "refit"} if refit else None,
    )
    return found, model, events


def test_the_validation_loss_is_that_of_the_weights_it_ends_with() -> None:
    """Of the averaged ones, which are what is kept."""
    model, valid = network(dropout=0.0), Sums(20)
    result = fit(model, Sums(), valid, CONFIG, device=CPU, on=lambda _: None, should_stop=lambda: False)
    assert result.best_epoch > 0
    assert result.best_loss == Validation(valid, 4 * CONFIG.batch_size).loss(model, CPU)


def test_the_loss_falls_and_is_told() -> None:
    found, _, events = train()
    epochs = [event for event in events if event["type"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["valid_loss"] < 0.8 * epochs[0]["valid_loss"]
    assert found.best_loss == min(event["valid_loss"] for event in epochs)
    wanted = {"type", "epoch", "train_loss", "valid_loss", "learning_rate", "grad_norm", "seconds", "phase"}
    assert set(epochs[0]) == wanted
    last = [event for event in events if event["type"] == "progress"][-1]
    assert (last["step"], last["steps"]) == (24, 24)


def test_some_epochs_and_the_end_are_diagnosed() -> None:
    events = list[dict[str, Any]]()
    found = fit(
        network(), Sums(), Sums(20), CONFIG,
        device=CPU, on=events.append, should_stop=lambda: False, diagnosed=True,
    )  # fmt: skip
    told = [event for event in events if event["type"] == "diagnostics"]
    assert [event["epoch"] for event in told] == [1, found.best_epoch]
    assert [event.get("final", False) for event in told] == [False, True]
    assert found.diagnostics is not None
    assert told[-1]["memory_length"] == found.diagnostics["memory_length"]
    plain, _, _ = train()
    losses = [[entry["train_loss"] for entry in one.history] for one in (found, plain)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("epochs", "steps", "chosen"),
    [(1, 5, [1]), (6, 24, [1]), (6, 500, [1, 6]), (100, 700, [1, 50, 100]), (40, 10**6, 16)],
)
def test_epochs_are_probed_as_seldom_as_steps_allow(epochs: int, steps: int, chosen: list[int] | int) -> None:
    found = sorted(probe_epochs(epochs, steps))
    assert (found if isinstance(chosen, list) else len(found)) == chosen


def test_each_epoch_tells_its_own_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one each time it is read: no epoch takes longer than the one before."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    fit_, _, _ = train()
    seconds = [entry["seconds"] for entry in fit_.history]
    assert seconds == pytest.approx([seconds[0]] * len(seconds), abs=2)


def test_a_seed_reproduces_a_run_bit_for_bit() -> None:
    (_, one, _), (_, two, _), (_, three, _) = train(), train(), train(replace(CONFIG, seed=6))
    weights = [model.state_dict() for model in (one, two, three)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    assert not all(weights[0][name].equal(weights[2][name]) for name in weights[0])


def test_early_stopping_keeps_the_best_which_may_be_untrained() -> None:
    found, model, events = train(replace(CONFIG, patience=2), valid=Sums(20, sign=-1.0))
    assert found.best_epoch == found.best_step == 0
    assert sum(event["type"] == "epoch" for event in events) == 2
    assert not model(torch.randn(1, 4, 2))[0].any()


def test_without_validation_the_last_epoch_is_kept() -> None:
    found, model, _ = train(valid=Sums(0))
    assert (found.best_epoch, found.best_loss) == (6, None)
    assert model(torch.randn(1, 4, 2))[0].any()


def test_stopping_takes_effect_at_the_next_step() -> None:
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 5

    found, _, events = train(stop=stop)
    assert found.stopped
    assert len(asked) == 6
    assert sum(event["type"] == "epoch" for event in events) == 1


def test_training_again_takes_the_same_steps_under_the_same_schedule() -> None:
    found, model, events = train(refit=RefitPlan(steps=10, total_steps=24))
    assert found.best_step == 10
    rates = [event["learning_rate"] for event in events if event["type"] == "epoch"]
    first = [event["learning_rate"] for event in train()[2] if event["type"] == "epoch"]
    assert rates[:2] == first[:2]
    assert all(event["phase"] == "refit" for event in events)
    assert model(torch.randn(1, 4, 2))[0].any()


def test_time_that_is_up_ends_the_fit() -> None:
    found, _, _ = train(replace(CONFIG, max_seconds=0.0))
    assert len(found.history) == 1
    assert not found.stopped


def test_time_is_up_within_a_long_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    whole, _, _ = train(replace(CONFIG, batch_size=2, epochs=1))
    found, _, _ = train(replace(CONFIG, batch_size=2, epochs=1, max_seconds=20.0))
    assert 0 < found.done_steps < 20 < whole.done_steps
    assert found.best_epoch == 1
    assert not found.stopped


def test_a_refit_takes_no_more_steps_than_it_has_seconds_for() -> None:
    done = FitResult(5, 50, 0.1, 80, 300, stopped=False, seconds=160.0)
    assert done.refit(None) == RefitPlan(50, 300)
    assert done.refit(100.0) == RefitPlan(50, 300)
    assert done.refit(50.0) == RefitPlan(25, 150)
    assert done.refit(0.1) == RefitPlan(1, 6)
    assert replace(done, seconds=0.0).refit(0.1) == RefitPlan(50, 300)
    assert replace(done, best_step=0).refit(0.1).steps == 0


def test_a_loss_that_is_no_number_is_explained() -> None:
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        fit(
            network(),
            Sums(fill=np.nan),
            None,
            CONFIG,
            device=CPU,
            on=lambda _: None,
            should_stop=lambda: False,
        )


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_truncation_changes_the_gradient_not_the_loss(cell: str) -> None:
    losses, gradients = [], []
    for steps in (None, 12, 3):
        model = network(cell, dropout=0.0)
        assert isinstance(model, SequenceModel)
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
        loop = Loop(model, replace(CONFIG, bptt_steps=steps, clip_norm=1e9), CPU, 10)
        losses.append(loop.step(Sums().batch(np.arange(16), None))[0])
        weight = dict(model.named_parameters())["recurrent.forwards.0.weight_hh_l0"]
        assert weight.grad is not None
        gradients.append(weight.grad.clone())
    assert losses[0] == pytest.approx(losses[1]) == pytest.approx(losses[2])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not torch.allclose(gradients[0], gradients[2])


def test_the_last_epoch_is_kept_where_that_is_asked_for() -> None:
    worse = Sums(20, sign=-1.0)  # on which the loss only rises
    found, _, events = train(replace(CONFIG, selection="last", patience=1), valid=worse)
    epochs = [event for event in events if event["type"] == "epoch"]
    assert found.best_epoch == len(epochs) == CONFIG.epochs
    assert found.best_loss == epochs[-1]["valid_loss"]
    first, *_ = train(replace(CONFIG, patience=6), valid=worse)
    assert first.best_epoch == 0


def test_the_gradient_is_clipped() -> None:
    model = network()
    loop = Loop(model, replace(CONFIG, clip_norm=1e-3), CPU, 10)
    _, norm = loop.step(Sums().batch(np.arange(16), None))
    clipped = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert norm > 1e-3
    assert float(clipped) <= 1.001e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_nothing_and_the_peak(name: str) -> None:
    rates = [SCHEDULES[name](step, 40) for step in range(45)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "radam"])
def test_every_optimizer_learns(optimizer: str) -> None:
    found, _, _ = train(replace(CONFIG, optimizer=optimizer, weight_decay=1e-4))
    assert found.best_step > 0


def test_batches_hold_every_example_once_and_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    groups = shuffled(lengths, 10, np.random.default_rng(1))
    assert sorted(np.concatenate(groups).tolist()) == list(range(1000))
    spread = np.mean([np.ptp(lengths[group]) for group in groups])
    assert spread < 0.2 * np.ptp(lengths)


def test_an_epoch_depends_on_seed_and_number() -> None:
    split = Sums()
    one, two, other = (list(TrainingBatches(split, 16, 1, epoch)) for epoch in (1, 1, 2))
    assert all(np.array_equal(a.targets, b.targets) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a.lengths, b.lengths) for a, b in zip(one, other, strict=True))
    assert sum(len(batch.lengths) for _, batch in ordered_batches(split, 10)) == 64


def test_a_path_is_one_loss_however_long_it_is() -> None:
    """The mean over two rows of a chain is that of the two, not of their steps."""
    model = build(
        ModelConfig(
            input=Input.VECTORS, output=Output.LABELS, features=2, outputs=3, hidden_size=4, crf=True
        ),
        0,
    )
    rng = np.random.default_rng(0)

    def batch(length: int) -> Batch:
        inputs = rng.normal(size=(1, length, 2)).astype(np.float32)
        steps = np.ones((1, length), np.float32)
        return Batch(inputs, np.array([length]), rng.integers(3, size=(1, length)), steps)

    batches = [batch(2), batch(9)]
    single = [mean_loss(model, [one], CPU) for one in batches]
    assert mean_loss(model, batches, CPU) == pytest.approx(np.mean(np.array(single)))
    assert [count_losses(one, row_loss=True) for one in batches] == [1, 1]
    assert [count_losses(one, row_loss=False) for one in batches] == [2, 9]
