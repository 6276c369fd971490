"""Faults in explanations: in what influence is, in what gates are, and in the limits of both."""

from benchmarks.mutations.mutation import Mutation

REQUEST = "app/prediction/explanation_request.py"
INFLUENCE = "workers/explanation/influence.py"
ACTIVATIONS = "workers/explanation/activations.py"
EXPLAINER = "workers/serving/explainer.py"
REQUEST_TESTS = ("tests/app/prediction/test_explanation_request.py",)
INFLUENCE_TESTS = ("tests/workers/explanation/test_influence.py",)
ACTIVATION_TESTS = ("tests/workers/explanation/test_activations.py",)
EXPLAINER_TESTS = ("tests/workers/serving/test_explainer.py",)

EXPLANATION_FAULTS = (
    Mutation(
        "several predictions are explained at once", REQUEST,
        "if len(request.instances) != 1:", "if not request.instances:", REQUEST_TESTS,
    ),
    Mutation(
        "an explanation has any number of steps", REQUEST,
        "if steps > MAX_EXPLAINED_STEPS:", "if steps < 0:", REQUEST_TESTS,
    ),
    Mutation(
        "influence is no norm", INFLUENCE,
        "leaf.gradient.double().pow(2).sum(dim=1)", "leaf.gradient.double().abs().sum(dim=1)",
        INFLUENCE_TESTS,
    ),
    Mutation(
        "scores of tokens beside the recurrence have no influence", INFLUENCE,
        "presence = self.tap(scores", "presence = (scores", INFLUENCE_TESTS,
    ),
    Mutation(
        "what was generated is a step of the input", INFLUENCE,
        "self.values.append(known[0, : self._time])", "self.values.append(known[0])", INFLUENCE_TESTS,
    ),
    Mutation(
        "the line of integrated gradients does not begin at zeros", INFLUENCE,
        "share = (point + 0.5) / INTEGRATION_POINTS", "share = 1.0", INFLUENCE_TESTS,
    ),
    Mutation(
        "a layer that reads backwards is shown backwards", ACTIVATIONS,
        "row.flip(0) if backward else row", "row", ACTIVATION_TESTS,
    ),
    Mutation(
        "an explanation takes as long as its deadline lets it", EXPLAINER,
        "min(request.deadline, time.time() + self._spec.max_seconds)", "request.deadline", EXPLAINER_TESTS,
    ),
    Mutation(
        "an explanation takes any memory", EXPLAINER,
        '"memory_bytes": self._spec.memory_bytes', '"memory_bytes": None', EXPLAINER_TESTS,
    ),
    Mutation(
        "a process that dies takes its request along", EXPLAINER,
        "MAX_ATTEMPTS = 2", "MAX_ATTEMPTS = 1", EXPLAINER_TESTS,
    ),
)  # fmt: skip
