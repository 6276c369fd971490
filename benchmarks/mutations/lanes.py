"""Faults in how prediction requests reach a predictor, and what happens when one dies."""

from benchmarks.mutations.mutation import Mutation

ADMISSION = "app/lanes/admission.py"
LANE = "app/lanes/lane.py"
PENDING = "app/lanes/pending_requests.py"
MONITOR = "app/lanes/predictor_monitor.py"
CONSUMER = "app/lanes/request_consumer.py"
SENDER = "app/lanes/request_sender.py"
ADMISSION_TESTS = ("tests/app/lanes/test_admission.py",)
LANE_TESTS = ("tests/app/lanes/test_lane.py",)
LANE_FAULT_TESTS = ("tests/app/lanes/test_faults.py",)
PENDING_TESTS = ("tests/app/lanes/test_pending_requests.py",)
STREAM_TESTS = ("tests/app/lanes/test_streams.py",)
CONSUMER_TESTS = ("tests/app/lanes/test_request_consumer.py",)

LANE_FAULTS = (
    Mutation(
        "rows that wait are not bounded", ADMISSION,
        "waiting + rows > self._max_rows or (ahead", "(ahead", ADMISSION_TESTS,
    ),
    Mutation(
        "seconds that wait are not bounded", ADMISSION,
        " or (ahead + cost) / self.predictors > budget:", ":", ADMISSION_TESTS,
    ),
    Mutation(
        "rows of other processes do not count", ADMISSION,
        "waiting = self.rows + elsewhere", "waiting = self.rows", ADMISSION_TESTS,
    ),
    Mutation(
        "answered rows still count", ADMISSION, "load.rows -= rows", "load.rows -= 0", ADMISSION_TESTS
    ),
    Mutation(
        "the cost of a row is that of its batch", ADMISSION,
        "compute_seconds / rows)", "compute_seconds)", ADMISSION_TESTS,
    ),
    Mutation(
        "requests decoded step by step count among the others", ADMISSION,
        "return self._stepwise if stepwise else self._single_pass", "return self._single_pass",
        ADMISSION_TESTS,
    ),
    Mutation(
        "a request outlives its deadline", LANE,
        "if one.deadline <= now]", "if one.deadline <= now - 3600]", LANE_TESTS,
    ),
    Mutation(
        "a lane that closes leaves its callers waiting", LANE,
        'self._fail_all("The server is shutting down.")', "pass", LANE_TESTS,
    ),
    Mutation(
        "requests are lost with the Redis that they waited in", LANE,
        "self._resend(None)  #", "pass  #", LANE_FAULT_TESTS,
    ),
    Mutation(
        "a request that kills predictors is sent for ever", PENDING,
        "self._may_resend = self._may_resend, False", "self._may_resend = True, True", PENDING_TESTS,
    ),
    Mutation(
        "a request of a dead predictor is not sent again", PENDING,
        "or self._predictor in gone", "or False", PENDING_TESTS,
    ),
    Mutation(
        "a request of a live predictor is sent again", PENDING,
        "or self._predictor in gone", "or True", PENDING_TESTS,
    ),
    Mutation(
        "a stream begins anew on another predictor", PENDING,
        '"begun": tokens}', '"begun": []}', PENDING_TESTS,
    ),
    Mutation(
        "tokens of a stream come twice", PENDING,
        "output.array()[len(tokens) - start :]", "output.array()", PENDING_TESTS,
    ),
    Mutation(
        "tokens after a gap are taken for those in it", PENDING,
        "if start <= len(tokens):", "if True:", PENDING_TESTS,
    ),
    Mutation(
        "a stream keeps the id of its first predictor's replies", PENDING,
        "self.request_id, self.blob, self._predictor = new_id,",
        "self.request_id, self.blob, self._predictor = self.request_id,", (*PENDING_TESTS, *STREAM_TESTS),
    ),
    Mutation(
        "the death of a predictor goes unnoticed", MONITOR,
        "self._on_death(gone)", "pass", LANE_FAULT_TESTS,
    ),
    Mutation(
        "callers wait though no predictor lives", MONITOR,
        "self._on_unavailable(self.unavailable)", "pass", LANE_FAULT_TESTS,
    ),
    Mutation(
        "one predictor takes what others could compute", CONSUMER,
        "else -(-limit // peers)", "else limit", CONSUMER_TESTS,
    ),
    Mutation(
        "dead predictors stay members", CONSUMER, "        if dead:", "        if False:", CONSUMER_TESTS
    ),
    Mutation(
        "a request that cannot be decoded ends the predictor", CONSUMER,
        "    except msgspec.MsgspecError:", "    except ZeroDivisionError:", LANE_TESTS,
    ),
    Mutation(
        "replies of an API process that died stay for ever", CONSUMER,
        '        *(("EXPIRE", key, wire.REPLY_TTL_SECONDS) for key in by_list),\n', "", LANE_TESTS,
    ),
    Mutation(
        "a request whose client has gone stays in the lane", SENDER,
        'removal = ("LREM", self._lane, -1, blob)', 'removal = ("LLEN", self._lane)', STREAM_TESTS,
    ),
)  # fmt: skip
