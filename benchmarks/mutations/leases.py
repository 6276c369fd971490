"""Faults in who may run a job, for how long, and how often it is tried again."""

from benchmarks.mutations.mutation import Mutation

LEASES = "app/services/jobs/leases.py"
REAPER = "app/services/jobs/reaper.py"
DISPATCHER = "app/services/jobs/dispatcher.py"
CONTROL = "app/services/jobs/control.py"
HEARTBEAT = "workers/jobs/heartbeat.py"
SUPERVISOR = "workers/jobs/supervisor.py"
LEASE_TESTS = ("tests/app/services/jobs/test_leases.py",)
DEVICE_TESTS = ("tests/app/services/jobs/test_devices.py",)
DISPATCHER_TESTS = ("tests/app/services/jobs/test_dispatcher.py",)
CONTROL_TESTS = ("tests/app/services/jobs/test_control.py",)
HEARTBEAT_TESTS = ("tests/workers/jobs/test_heartbeat.py",)
STALL_TESTS = ("tests/workers/jobs/test_stalls.py",)
SUPERVISOR_TESTS = ("tests/workers/jobs/test_supervisor.py", "tests/workers/jobs/test_supervisor_faults.py")

LEASE_FAULTS = (
    Mutation(
        "a job that runs is claimed", LEASES,
        ".where(Job.id == job_id, Job.status == Status.QUEUED, claimable())",
        ".where(Job.id == job_id, claimable())", LEASE_TESTS,
    ),
    Mutation(
        "a claim does not grow the fencing token", LEASES,
        "attempt=Job.attempt + 1,", "attempt=1,", LEASE_TESTS,
    ),
    Mutation(
        "an earlier attempt may still write", LEASES,
        "(Job.id == lease.job_id, Job.attempt == lease.attempt, Job.status == Status.RUNNING)",
        "(Job.id == lease.job_id, Job.status == Status.RUNNING)", LEASE_TESTS,
    ),
    Mutation(
        "an ended job may still be written", LEASES,
        "(Job.id == lease.job_id, Job.attempt == lease.attempt, Job.status == Status.RUNNING)",
        "(Job.id == lease.job_id, Job.attempt == lease.attempt)", LEASE_TESTS,
    ),
    Mutation(
        "a heartbeat does not extend the lease", LEASES,
        ".values(lease_until=db_now() + seconds, **report)",
        ".values(lease_until=Job.lease_until, **report)", LEASE_TESTS,
    ),
    Mutation(
        "a cancelled job succeeds", LEASES,
        ".where(*_holds_lease(lease), Job.cancel_requested_at.is_(None))", ".where(*_holds_lease(lease))",
        LEASE_TESTS,
    ),
    Mutation(
        "a cancelled job fails", LEASES,
        'return _change_status(session, lease, values | {"status": Status.CANCELLED})',
        "pass", CONTROL_TESTS,
    ),
    Mutation("a crash is not counted", LEASES, "int(crashed)", "0", LEASE_TESTS),
    Mutation("every release counts as a crash", LEASES, "int(crashed)", "1", LEASE_TESTS),
    Mutation(
        "a job is lost one crash too early", LEASES, ") > MAX_CRASHES:", ") >= MAX_CRASHES:", LEASE_TESTS
    ),
    Mutation(
        "a job is lost one crash too late", LEASES, ") > MAX_CRASHES:", ") > MAX_CRASHES + 1:", LEASE_TESTS
    ),
    Mutation(
        "stored progress does not excuse crashes", LEASES,
        "crashes - job.excused_crashes", "crashes - 0 * job.excused_crashes", LEASE_TESTS,
    ),
    Mutation(
        "the same checkpoint again excuses crashes", LEASES,
        "farther = Job.stored_steps < steps", "farther = Job.stored_steps <= steps", LEASE_TESTS,
    ),
    Mutation(
        "an error is tried again at once", LEASES,
        '"due_at": db_now() + BACKOFF_SECONDS * 2**job.failures', '"due_at": db_now()', CONTROL_TESTS,
    ),
    Mutation(
        "the back-off does not grow", LEASES,
        "BACKOFF_SECONDS * 2**job.failures", "BACKOFF_SECONDS", CONTROL_TESTS,
    ),
    Mutation(
        "an error is tried again for ever", LEASES,
        "if job.failures + 1 > MAX_FAILURES:", "if job.failures > 1000:", CONTROL_TESTS,
    ),
    Mutation(
        "a job is run before it is due", LEASES,
        "claimable(), ready, can_run)", "claimable(), can_run)", CONTROL_TESTS,
    ),
    Mutation(
        "the last job submitted is run first", LEASES,
        "query.order_by(Job.priority.desc(), Job.id).limit(1)",
        "query.order_by(Job.priority.desc(), Job.id.desc()).limit(1)", LEASE_TESTS,
    ),
    Mutation(
        "a job is run without the device it needs", LEASES,
        "claimable(), ready, can_run)", "claimable(), ready)", DEVICE_TESTS,
    ),
    Mutation(
        "a pause outlives the release", LEASES, ', "pause_requested_at": None}', "}", CONTROL_TESTS
    ),
    Mutation(
        "a lease is reaped at the first look", REAPER,
        "if earlier is None or lease in earlier]", "if True]", DISPATCHER_TESTS,
    ),
    Mutation(
        "a running job without a lease is never reaped", REAPER,
        "func.coalesce(Job.lease_until, 0.0) < db_now()", "Job.lease_until < db_now()", LEASE_TESTS,
    ),
    Mutation(
        "a lost worker is not counted as a crash", REAPER,
        "crashed=True", "crashed=False", LEASE_TESTS,
    ),
    Mutation(
        "a wake-up that was lost is not sent again", DISPATCHER,
        "lost = overdue[device] and self._broker.pending(device) == 0", "lost = False", DISPATCHER_TESTS,
    ),
    Mutation(
        "wake-ups pile up in the queue", DISPATCHER,
        "overdue[device] and self._broker.pending(device) == 0", "overdue[device]", DISPATCHER_TESTS,
    ),
    Mutation(
        "every process of a large fleet looks through all queued jobs", DISPATCHER,
        "if share > 1:", "if False:", DISPATCHER_TESTS,
    ),
    Mutation(
        "a wake-up that could not be sent counts as sent", DISPATCHER,
        "                break\n", "                pass\n", DISPATCHER_TESTS,
    ),
    Mutation(
        "the owner is not told to cancel", CONTROL,
        "return _request(session, job, cancel_requested_at=db_now())", "return job", CONTROL_TESTS,
    ),
    Mutation(
        "a job that has ended is resumed", CONTROL,
        '_refuse_ended(job, "resumed")', "pass", CONTROL_TESTS,
    ),
    Mutation(
        "the owner lets go after its lease instead of before", HEARTBEAT,
        "    0.5  # fraction", "    1.5  # fraction", HEARTBEAT_TESTS,
    ),
    Mutation(
        "the owner counts its lease from the answer instead of the request", HEARTBEAT,
        "self._renewed = begun", "self._renewed = time.monotonic()", HEARTBEAT_TESTS,
    ),
    Mutation(
        "what a child reports during an outage is lost", HEARTBEAT,
        "self._report = report.merge(self._report)", "pass", (*HEARTBEAT_TESTS, *SUPERVISOR_TESTS),
    ),
    Mutation(
        "a frozen supervisor calls its child stalled", SUPERVISOR,
        "if message or now - polled_at > FROZEN_SECONDS:", "if message:", STALL_TESTS,
    ),
    Mutation(
        "a child that hangs is never ended", SUPERVISOR,
        "elif now - last_message_at > self._timeouts.stall:", "elif False:", STALL_TESTS,
    ),
    Mutation(
        "a database that is away charges a crash", SUPERVISOR,
        "self._release(heartbeat, crashed=False)\n            return\n        except Exception",
        "self._release(heartbeat, crashed=True)\n            return\n        except Exception",
        SUPERVISOR_TESTS,
    ),
)  # fmt: skip
