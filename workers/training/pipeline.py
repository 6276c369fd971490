"""The stages of one training job, in order: pretraining, members, ablation, evaluation, refits, export."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import torch

from app.arrays import Arrays
from app.tasks import TASKS
from app.tasks.contract import Plan, Split
from app.tasks.shared.validation_metrics import validation_metric
from app.typedefs import Json
from workers.artifact.export import save
from workers.nn import LanguageModel, Member, ModelConfig, Network, Trainable, Translator
from workers.outputs import build, join
from workers.training.batches import NextTokenSplit, steps_per_epoch
from workers.training.checkpointer import Checkpointer
from workers.training.device import pick_device
from workers.training.evaluate import fit_ngram_weight, outputs_of
from workers.training.fit import CheckpointConfig, FitResult, RefitPlan, fit
from workers.training.loop import TrainingConfig
from workers.training.snapshot import Snapshot, of_module
from workers.training.stages import (
    ABLATION,
    EVALUATE,
    FIT,
    PRETRAIN,
    REFIT,
    Stage,
    StageProgress,
    StageResults,
    TrainingResult,
    TrainSpec,
    first_layer,
)

STOPPED = TrainingResult({}, {}, 0, stopped=True)
ABLATION_SHARE = 0.5  # of the epochs of a member: a network without a part converges sooner
# Of a task that refits: which fit is published, and which one has the metrics.
FIT_OF_TRAINING: Json = {"published": "training split", "measured": "training split"}
MEMBER_SEED_STEP = 1_000_003  # between the seeds of an ensemble's members


class TrainingPipeline:
    """Trains one job: pretrain, fit each member and the ablation, evaluate, refit on all data, export.

    Continues from a checkpoint of any of these stages.
    """

    def __init__(
        self,
        spec: TrainSpec,
        plan: Plan,
        on: Callable[[Json], None],
        should_stop: Callable[[], bool],
        checkpointer: Checkpointer | None,
        resume: Snapshot | None,
    ) -> None:
        self._spec, self._plan, self._should_stop = spec, plan, should_stop
        self._task, self._config = TASKS[spec.task], training_config(spec.training)
        self._members = spec.training.get("ensemble", 1)
        self._pretrain = spec.training.get("pretrain_epochs", 0)
        self._device = pick_device(spec.training.get("device", "auto"))
        self._network = model_config(plan, spec.network, self._members)
        self._refit_base = 1 + self._members + bool(plan.ablation)  # number of the first refit's stage
        self._checkpointer, self._resume = checkpointer, resume
        self._results = StageResults.of(resume)
        self._progress = StageProgress(on, self._expected())
        self._expect_finished()

    def _expected(self) -> dict[int, int]:
        """The largest number of steps of each stage, by its number."""
        size, count = self._config.batch_size, self._members
        steps = self._config.epochs * steps_per_epoch(self._plan.train, size)
        expected = dict.fromkeys(range(1, count + 1), steps)
        if self._plan.ablation:
            expected[1 + count] = self._ablation_epochs() * steps_per_epoch(self._plan.train, size)
        if self._pretrain:
            expected[0] = self._pretrain * steps_per_epoch(self._plan.train, size)
        if self._plan.refit:
            expected |= dict.fromkeys(range(self._refit_base, self._refit_base + count), steps)
        return expected

    def _expect_finished(self) -> None:
        """Replace expected steps by those that finished fits took, and that refits will take."""
        for member, done in enumerate(self._results.fits):
            self._progress.expect(1 + member, done.done_steps)
            if self._plan.refit and self._results.evaluation is not None:
                self._progress.expect(self._refit_base + member, done.best_step)
        if self._results.ablation is not None:
            self._progress.expect(1 + self._members, self._results.ablation.done_steps)

    def run(self, out_dir: Path) -> TrainingResult:
        """Run all stages; the artifact is in `out_dir` unless the training was stopped."""
        done, count = self._results, self._members
        if not (self._pretrain_layer() and all(self._fit_member(k) for k in range(len(done.fits), count))):
            return STOPPED
        if not self._fit_ablation():
            return STOPPED
        if done.evaluation is None:
            self._progress.announce(EVALUATE, self._refit_base)
            done.evaluation = self._evaluate()
            self._expect_finished()
        weights, evaluation = done.fitted, done.evaluation
        if self._plan.refit and any(fit.best_step for fit in done.fits):
            if not all(self._refit_member(k) for k in range(len(done.refitted), count)):
                return STOPPED
            weights = done.refitted
        if self._plan.refit:
            fit = FIT_OF_TRAINING | ({"published": "all data"} if weights is done.refitted else {})
            evaluation = {**evaluation, "metrics": {**evaluation["metrics"], "fit": fit}}
        network = self._join_members(weights, self._plan.final_tables)
        self._export(network, out_dir, evaluation)
        return TrainingResult(evaluation["metrics"], evaluation["baseline"], network.count(), stopped=False)

    def _pretrain_layer(self) -> bool:
        """Pretrain the first layer of all members as a language model; false when it was stopped."""
        if not self._pretrain or self._results.pretrained is not None or self._results.fits:
            return True
        model = build(self._network, self._config.seed)
        if isinstance(model, Translator):
            raise TypeError("A translator has no language model to begin with.")
        config = replace(self._config_of_stage(), epochs=self._pretrain, patience=self._pretrain)
        splits = NextTokenSplit(self._plan.train), NextTokenSplit(self._plan.valid)
        if self._fit(Stage(PRETRAIN, 0), LanguageModel(model), config, *splits).stopped:
            return False
        self._results.pretrained = first_layer(model)
        return True

    def _fit_member(self, member: int) -> bool:
        model = self._new_member(member)
        config = self._with_member_seed(self._config_of_stage(), member)
        fit = self._fit(Stage(FIT, 1 + member, member), model, config, self._plan.train, self._plan.valid)
        if not fit.stopped:
            weight = fit_ngram_weight(model, self._plan.valid, self._config.batch_size, self._device)
            self._results.fits.append(replace(fit, ngram_weight=weight))
            self._results.fitted.append(of_module(model))
        return not fit.stopped

    def _fit_ablation(self) -> bool:
        """Fit the network without a part, where the plan names one; false when it was stopped."""
        plan, done = self._plan, self._results
        if plan.ablation is None or done.ablation is not None:
            return True
        model = self._new_network(self._ablated_network(), self._config.seed)
        stage = Stage(ABLATION, 1 + self._members)
        config = replace(self._config_of_stage(), epochs=self._ablation_epochs())
        fit = self._fit(stage, model, config, plan.ablation_train or plan.train, plan.valid)
        if not fit.stopped:
            done.ablation, done.ablated = fit, of_module(model)
        return not fit.stopped

    def _ablation_epochs(self) -> int:
        return max(1, round(ABLATION_SHARE * self._config.epochs))

    def _ablated_network(self) -> ModelConfig:
        fields = {**self._network.to_json(), **(self._plan.ablation or {}), "members": 1}
        return ModelConfig.from_json(fields)

    def _refit_member(self, member: int) -> bool:
        first = self._results.fits[member]
        stage = Stage(REFIT, self._refit_base + member, member)
        config = self._with_member_seed(self._config_of_stage(), member)
        model, refit = self._new_member(member), first.refit(config.max_seconds)
        assert self._plan.refit is not None  # noqa: S101 - only called with one
        fit = self._fit(stage, model, config, self._plan.refit, None, refit)
        if not fit.stopped:
            self._results.refitted.append(of_module(model))
        return not fit.stopped

    def _new_member(self, member: int) -> Member:
        model = self._new_network(self._network, self._with_member_seed(self._config, member).seed)
        if self._results.pretrained is not None:
            model.load_state_dict(self._results.pretrained.tensors, strict=False)
        return model

    def _new_network(self, network: ModelConfig, seed: int) -> Member:
        """A freshly initialized network with the plan's tables in it."""
        model = build(network, seed)
        _load_tables(model, self._plan.tables)
        return model

    def _with_member_seed(self, config: TrainingConfig, member: int) -> TrainingConfig:
        return replace(config, seed=config.seed + MEMBER_SEED_STEP * member)

    def _config_of_stage(self) -> TrainingConfig:
        """The configuration with each stage's share of `max_seconds`, that of the refits among them."""
        seconds = self._config.max_seconds
        fits = self._members * (1 + bool(self._plan.refit))
        parts = fits + bool(self._pretrain) + bool(self._plan.ablation)
        return self._config if seconds is None else replace(self._config, max_seconds=seconds / parts)

    def _fit(
        self,
        stage: Stage,
        model: Trainable,
        config: TrainingConfig,
        train: Split,
        valid: Split | None,
        refit: RefitPlan | None = None,
    ) -> FitResult:
        checkpoints = None
        if self._checkpointer is not None:
            resumed = self._resume if self._resume and self._resume.facts["stage"] == stage.number else None
            results = self._results
            facts = {**stage.event_fields(self._members), **results.facts(), "spec": self._spec.digest()}
            facts["threads"] = torch.get_num_threads()
            checkpoints = CheckpointConfig(self._checkpointer, facts, results.parts(), results.steps, resumed)
        result = fit(
            model,
            train,
            valid,
            config,
            device=self._device,
            on=self._progress,
            should_stop=self._should_stop,
            refit=refit,
            checkpoints=checkpoints,
            event_fields=stage.event_fields(self._members),
            diagnosed=stage.phase == FIT,
        )
        if not result.stopped:
            self._progress.expect(stage.number, result.done_steps)
            self._results.steps += result.done_steps
        return result

    def _join_members(self, weights: list[Snapshot], tables: Arrays | None = None) -> Network:
        """The members with these weights, and with these tables instead of their own, as one network."""
        members = [build(self._network, 0) for _ in weights]
        for member, snapshot in zip(members, weights, strict=True):
            member.load_state_dict(snapshot.tensors)
            _load_tables(member, tables or {})
            member.to(self._device).flatten()
        return join(members)

    def _evaluate(self) -> Json:
        """Calibrate the state on validation data and evaluate on held-out data."""
        network = self._join_members(self._results.fitted)
        final = self._join_members(self._results.fitted, self._plan.final_tables)
        state, metrics, baseline = self._score(network, final)
        if self._results.ablated is not None:
            ablated = build(self._ablated_network(), 0)
            ablated.load_state_dict(self._results.ablated.tensors)
            ablated.to(self._device)
            _, scores, _ = self._score(ablated, ablated)
            baseline = {name: scores[name] for name in baseline}
        metrics |= best_epochs(self._results.fits) | self._sweep_metric(network, state)
        return {"state": state, "metrics": metrics, "baseline": baseline}

    def _score(self, network: Network, final: Network) -> tuple[Json, Json, Json]:
        """The calibrated state, the metrics on held-out data, and those of the task's baseline.

        The final network is measured; its tables may know the validation data, with which it calibrates.
        """
        plan, state, size = self._plan, self._plan.state, self._config.batch_size
        if len(plan.valid.lengths) and not plan.output.stepwise:
            state = self._task.calibrate(
                state, plan.valid, outputs_of(network, plan.valid, size, self._device)
            )
        return state, *self._task.score(state, plan.test, outputs_of(final, plan.test, size, self._device))

    def _sweep_metric(self, network: Network, state: Json) -> Json:
        """The validation metric by which a sweep compares its runs, where that is not their loss."""
        metric, split = self._spec.training.get("judged_by"), self._plan.valid_for_score or self._plan.valid
        if metric is None or not len(split.lengths):
            return {}
        outputs = outputs_of(network, split, self._config.batch_size, self._device)
        return {validation_metric(metric): self._task.score(state, split, outputs)[0].get(metric)}

    def _export(self, network: Network, out_dir: Path, evaluation: Json) -> None:
        spec = self._spec
        facts = {
            "task": spec.task,
            "network": spec.network,
            "training": spec.training,
            "options": spec.options,
            "columns": spec.columns,
            **evaluation,
        }
        save(out_dir, network, facts)


def _load_tables(model: Member, tables: Arrays) -> None:
    model.load_state_dict({name: torch.from_numpy(table) for name, table in tables.items()}, strict=False)


def best_epochs(fits: list[FitResult]) -> Json:
    """The best epoch and its validation loss; of several members the mean loss and each one's."""
    members = [
        {"best_epoch": fit.best_epoch, "valid_loss": fit.best_loss}
        | ({} if fit.ngram_weight is None else {"ngram_weight": fit.ngram_weight})
        for fit in fits
    ]
    if len(fits) == 1:
        return members[0]
    losses = [fit.best_loss for fit in fits if fit.best_loss is not None]
    return {"valid_loss": sum(losses) / len(losses) if losses else None, "members": members}


def model_config(plan: Plan, network: Json, members: int = 1) -> ModelConfig:
    """The configuration of the network that a plan needs."""
    from_plan = {name: getattr(plan, name) for name in ("input", "output", "features", "outputs")}
    return ModelConfig.from_json({**from_plan, **plan.network, **network, "members": members})


def training_config(training: Json) -> TrainingConfig:
    """The settings of a job's training that the loop reads."""
    known = {field.name for field in fields(TrainingConfig)}
    return TrainingConfig(**{key: value for key, value in training.items() if key in known})
