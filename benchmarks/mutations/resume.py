"""Faults in checkpoints, and in what goes on from one."""

from benchmarks.mutations.mutation import Mutation

CHECKPOINT_NAME = "app/infrastructure/checkpoint_name.py"
CHECKPOINTS = "app/services/jobs/checkpoints.py"
BATCHES = "app/services/jobs/batch_predictions.py"
KINDS = "workers/jobs/kinds.py"
CHECKPOINT = "workers/training/checkpoint.py"
CHECKPOINTER = "workers/training/checkpointer.py"
LOOP = "workers/training/loop.py"
FIT = "workers/training/fit.py"
TRAINING_BATCHES = "workers/training/batches.py"
AVERAGING = "workers/training/weight_averaging.py"
SNAPSHOT = "workers/training/snapshot.py"
CHECKPOINT_TESTS = ("tests/app/services/jobs/test_checkpoints.py",)
KIND_TESTS = ("tests/workers/jobs/test_kinds.py", "tests/workers/jobs/test_supervisor.py")
FILE_TESTS = ("tests/workers/training/test_resume.py::test_a_damaged_file_is_never_read",)
STATE_TESTS = ("tests/workers/training/test_resume.py::test_with_every_kind_of_state",)
CARRIED_TESTS = (
    "tests/workers/training/test_resume.py::test_with_a_state_that_is_carried_from_batch_to_batch",
)
RESUME_TESTS = ("tests/workers/training/test_resume.py",)

RESUME_FAULTS = (
    Mutation(
        "a checkpoint is believed whatever its content", CHECKPOINT_NAME,
        "if sha256_of(path.name) != digest:", "if False:", (*KIND_TESTS, *FILE_TESTS),
    ),
    Mutation(
        "a checkpoint is handed to a training unverified", KINDS,
        "                verify_checkpoint(path)\n", "", KIND_TESTS,
    ),
    Mutation(
        "a training reads a checkpoint unverified", CHECKPOINT,
        "    verify_checkpoint(path)\n", "", FILE_TESTS,
    ),
    Mutation(
        "a training goes on from its oldest checkpoint", CHECKPOINTS,
        "reverse=True)", "reverse=False)", CHECKPOINT_TESTS,
    ),
    Mutation(
        "only one checkpoint is kept", CHECKPOINTS,
        "CHECKPOINTS_PER_JOB = 2", "CHECKPOINTS_PER_JOB = 1", (*CHECKPOINT_TESTS, *KIND_TESTS),
    ),
    Mutation(
        "old checkpoints are never deleted", CHECKPOINTS,
        "        storage.delete_file(key)", "        pass", CHECKPOINT_TESTS,
    ),
    Mutation(
        "a store that fails ends the training", KINDS,
        "        except Exception as error:  # noqa: BLE001 - whatever a store raises\n            reason",
        "        except ZeroDivisionError as error:\n            reason", KIND_TESTS,
    ),
    Mutation(
        "the artifact of a job that succeeded is deleted", KINDS,
        "if status in {Status.FAILED, Status.CANCELLED}:", "if status is not None:", KIND_TESTS,
    ),
    Mutation(
        "the parts of a batch that succeeded are deleted", KINDS,
        "if status != Status.SUCCEEDED:", "if True:", KIND_TESTS,
    ),
    Mutation(
        "epochs that were reported are reported again", KINDS,
        '"last_epoch": self._last_epoch()', '"last_epoch": (0, 0)', KIND_TESTS,
    ),
    Mutation(
        "a batch goes on after a part that is missing", BATCHES,
        "        if int(part) != parts:\n            break\n", "",
        ("tests/app/services/jobs/test_batch_predictions.py",),
    ),
    Mutation(
        "checkpoints take all of the time", CHECKPOINTER,
        "return self._spent + self._cost <= MAX_TIME_SHARE * (now - self._began)", "return True",
        RESUME_TESTS,
    ),
    Mutation(
        "the optimizer begins anew", LOOP,
        'restore_optimizer(self.optimizer, snapshot.part("optimizer"))', "pass", STATE_TESTS,
    ),
    Mutation(
        "the averaged weights begin anew", LOOP,
        'self.average.restore(snapshot.part("average"))', "pass", STATE_TESTS,
    ),
    Mutation(
        "the average counts its updates anew", AVERAGING,
        'self._count = snapshot.facts["count"]', "self._count = 0", STATE_TESTS,
    ),
    Mutation(
        "the best epoch is forgotten", LOOP, 'self.best.restore(snapshot.part("best"))', "pass", RESUME_TESTS
    ),
    Mutation(
        "random sources begin anew", LOOP,
        'restore_random(self.device, snapshot.part("random"))', "pass", RESUME_TESTS,
    ),
    Mutation(
        "the learning rate begins anew", LOOP,
        'self.schedule.load_state_dict(snapshot.part("schedule").facts | {"lr_lambdas": [None]})', "pass",
        STATE_TESTS,
    ),
    Mutation(
        "the state of a text is not carried over", LOOP,
        "self.carried_state = None if state is None else state.to(self.device)", "self.carried_state = None",
        CARRIED_TESTS,
    ),
    Mutation(
        "the sums of an epoch begin anew", LOOP,
        'EpochSums(**facts["sums"])', "EpochSums()", RESUME_TESTS,
    ),
    Mutation(
        "an epoch is begun anew", TRAINING_BATCHES,
        'self._position = snapshot.facts["position"]', "self._position = 0", RESUME_TESTS,
    ),
    Mutation(
        "the random views of an epoch begin anew", TRAINING_BATCHES,
        'self._rng.bit_generator.state = snapshot.facts["random"]', "pass", RESUME_TESTS,
    ),
    Mutation(
        "a snapshot changes with the steps after it", SNAPSHOT,
        'return tensor.detach().to("cpu", copy=True).contiguous()', "return tensor.detach()", RESUME_TESTS,
    ),
    Mutation(
        "the time before an interruption does not count", FIT,
        'self._seconds_before = self._checkpoints.resume.facts["seconds"]', "pass", RESUME_TESTS,
    ),
)  # fmt: skip
