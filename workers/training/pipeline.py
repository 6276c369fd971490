"""The order in which a job learns: the language, then each member, then each again on all data."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import torch

from app.tasks import TASKS
from app.tasks.contract import Output, Plan, Split
from app.tasks.shared.validation_metrics import of_validation
from app.typedefs import Json
from workers.artifact.export import save
from workers.nn import LanguageModel, Member, ModelConfig, Network, Trainable, Translator, build, join
from workers.training.batches import Following, steps_per_epoch
from workers.training.checkpointer import Saver
from workers.training.device import pick_device
from workers.training.evaluate import outputs_of
from workers.training.fit import Again, Fit, Keep, fit
from workers.training.loop import TrainingConfig
from workers.training.snapshot import Snapshot, of_module
from workers.training.stages import (
    FIT,
    PRETRAIN,
    REFIT,
    Outcome,
    Progress,
    Results,
    Stage,
    TrainSpec,
    first_layer,
)

STOPPED = Outcome({}, {}, 0, stopped=True)
APART = 1_000_003  # between the seeds of members


class Curriculum:
    """One job: learn the language, fit each member, score, fit again on all data, export.

    It goes on from a checkpoint in any of these stages.
    """

    def __init__(
        self,
        spec: TrainSpec,
        plan: Plan,
        on: Callable[[Json], None],
        should_stop: Callable[[], bool],
        saver: Saver | None,
        resume: Snapshot | None,
    ) -> None:
        self._spec, self._plan, self._should_stop = spec, plan, should_stop
        self._task, self._config = TASKS[spec.task], training_config(spec.training)
        self._members = spec.training.get("ensemble", 1)
        self._pretrain = spec.training.get("pretrain_epochs", 0)
        self._device = pick_device(spec.training.get("device", "auto"))
        self._network = model_config(plan, spec.network, self._members)
        self._saver, self._resume = saver, resume
        self._done = Results.of(resume)
        self._progress = Progress(on, self._expected())
        self._expect_known()

    def _expected(self) -> dict[int, int]:
        """Steps of each stage, at most."""
        size, count = self._config.batch_size, self._members
        steps = self._config.epochs * steps_per_epoch(self._plan.train, size)
        found = dict.fromkeys(range(1, count + 1), steps)
        if self._pretrain:
            found[0] = self._pretrain * steps_per_epoch(self._plan.train, size)
        if self._plan.refit:
            found |= dict.fromkeys(range(count + 1, 2 * count + 1), steps)
        return found

    def _expect_known(self) -> None:
        """What finished fits took, and so what fitting again will take."""
        for member, done in enumerate(self._done.fits):
            self._progress.expect(1 + member, done.done_steps)
            if self._plan.refit and self._done.judged is not None:
                self._progress.expect(1 + self._members + member, done.best_step)

    def run(self, out_dir: Path) -> Outcome:
        """Everything; the artifact is in `out_dir` unless it was stopped."""
        done, count = self._done, self._members
        if not (self._learn_language() and all(self._fit_member(k) for k in range(len(done.fits), count))):
            return STOPPED
        if done.judged is None:
            done.judged = self._judge()
            self._expect_known()
        kept = done.fitted
        if self._plan.refit and any(fit.best_step for fit in done.fits):
            if not all(self._refit_member(k) for k in range(len(done.refitted), count)):
                return STOPPED
            kept = done.refitted
        network, judged = self._joined(kept), done.judged
        self._export(network, out_dir, judged)
        return Outcome(judged["metrics"], judged["baseline"], network.count(), stopped=False)

    def _learn_language(self) -> bool:
        """Pretrain what all members begin with; False when it was stopped."""
        if not self._pretrain or self._done.pretrained is not None or self._done.fits:
            return True
        model = build(self._network, self._config.seed)
        if isinstance(model, Translator):
            raise TypeError("A translator has no language model to begin with.")
        config = replace(self._limited(), epochs=self._pretrain, patience=self._pretrain)
        stage, splits = Stage(PRETRAIN, 0), (Following(self._plan.train), Following(self._plan.valid))
        if self._fit(stage, LanguageModel(model), config, *splits).stopped:
            return False
        self._done.pretrained = first_layer(model)
        return True

    def _fit_member(self, member: int) -> bool:
        model = self._fresh(member)
        stage, config = Stage(FIT, 1 + member, member), self._seeded(self._limited(), member)
        fit = self._fit(stage, model, config, self._plan.train, self._plan.valid)
        if not fit.stopped:
            self._done.fits.append(fit)
            self._done.fitted.append(of_module(model))
        return not fit.stopped

    def _refit_member(self, member: int) -> bool:
        first = self._done.fits[member]
        stage, config = Stage(REFIT, 1 + self._members + member, member), self._seeded(self._config, member)
        model, again = self._fresh(member), Again(first.best_step, first.total_steps)
        assert self._plan.refit is not None  # noqa: S101 - only called with one
        fit = self._fit(stage, model, config, self._plan.refit, None, again)
        if not fit.stopped:
            self._done.refitted.append(of_module(model))
        return not fit.stopped

    def _fresh(self, member: int) -> Member:
        model = build(self._network, self._seeded(self._config, member).seed)
        tables = {name: torch.from_numpy(table) for name, table in self._plan.tables.items()}
        model.load_state_dict(tables, strict=False)
        if self._done.pretrained is not None:
            model.load_state_dict(self._done.pretrained.tensors, strict=False)
        return model

    def _seeded(self, config: TrainingConfig, member: int) -> TrainingConfig:
        return replace(config, seed=config.seed + APART * member)

    def _limited(self) -> TrainingConfig:
        """Each stage may take its part of the seconds."""
        seconds = self._config.max_seconds
        parts = self._members + bool(self._pretrain)
        return self._config if seconds is None else replace(self._config, max_seconds=seconds / parts)

    def _fit(
        self,
        stage: Stage,
        model: Trainable,
        config: TrainingConfig,
        train: Split,
        valid: Split | None,
        again: Again | None = None,
    ) -> Fit:
        keep = None
        if self._saver is not None:
            ours = self._resume if self._resume and self._resume.facts["stage"] == stage.number else None
            facts = {**stage.place(self._members), **self._done.facts(), "spec": self._spec.digest()}
            facts["threads"] = torch.get_num_threads()
            keep = Keep(self._saver, facts, self._done.parts(), self._done.steps, ours)
        fit_ = fit(
            model,
            train,
            valid,
            config,
            device=self._device,
            on=self._progress,
            should_stop=self._should_stop,
            again=again,
            keep=keep,
            place=stage.place(self._members),
        )
        if not fit_.stopped:
            self._progress.expect(stage.number, fit_.done_steps)
            self._done.steps += fit_.done_steps
        return fit_

    def _joined(self, weights: list[Snapshot]) -> Network:
        members = [build(self._network, 0) for _ in weights]
        for member, kept in zip(members, weights, strict=True):
            member.load_state_dict(kept.tensors)
            member.to(self._device).flatten()
        return join(members)

    def _judge(self) -> Json:
        """Settle the state on validation data and score on held-out data."""
        plan, network, size = self._plan, self._joined(self._done.fitted), self._config.batch_size
        state = plan.state
        if len(plan.valid.lengths) and plan.output not in (Output.NEXT, Output.SEQUENCE):
            state = self._task.settle(state, plan.valid, outputs_of(network, plan.valid, size, self._device))
        outputs = outputs_of(network, plan.test, size, self._device)
        metrics, baseline = self._task.score(state, plan.test, outputs)
        metrics |= best_of(self._done.fits) | self._compared(network, state)
        return {"state": state, "metrics": metrics, "baseline": baseline}

    def _compared(self, network: Network, state: Json) -> Json:
        """The metric of validation data by which a sweep compares its runs, where that is not their loss."""
        metric, split = self._spec.training.get("judged_by"), self._plan.judged or self._plan.valid
        if metric is None or not len(split.lengths):
            return {}
        outputs = outputs_of(network, split, self._config.batch_size, self._device)
        return {of_validation(metric): self._task.score(state, split, outputs)[0].get(metric)}

    def _export(self, network: Network, out_dir: Path, judged: Json) -> None:
        spec = self._spec
        facts = {
            "task": spec.task,
            "network": spec.network,
            "training": spec.training,
            "options": spec.options,
            **judged,
        }
        save(out_dir, network, facts)


def best_of(fits: list[Fit]) -> Json:
    """When training was at its best; of several members the mean loss."""
    if len(fits) == 1:
        return {"best_epoch": fits[0].best_epoch, "valid_loss": fits[0].best_loss}
    losses = [fit.best_loss for fit in fits if fit.best_loss is not None]
    members = [{"best_epoch": fit.best_epoch, "valid_loss": fit.best_loss} for fit in fits]
    return {"valid_loss": sum(losses) / len(losses) if losses else None, "members": members}


def model_config(plan: Plan, network: Json, members: int = 1) -> ModelConfig:
    """The network a plan needs."""
    outside = {"input": plan.input, "output": plan.output, "features": plan.features, "outputs": plan.outputs}
    return ModelConfig.from_json({**outside, **plan.network, **network, "members": members})


def training_config(training: Json) -> TrainingConfig:
    """The loop's part of a job's training settings."""
    known = {field.name for field in fields(TrainingConfig)}
    return TrainingConfig(**{key: value for key, value in training.items() if key in known})
