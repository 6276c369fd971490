"""Faults in the bounds on what clients may send, and on the memory that it takes."""

from benchmarks.mutations.mutation import Mutation

CODINGS = "app/api/codings.py"
BODIES = "app/api/bodies.py"
ORIGINS = "app/validation/origins.py"
CONNECTIONS = "app/connections.py"
THREADS = "app/thread_pools.py"
ARCHIVE = "app/ingest/readers/archive.py"
COMPRESSED = "app/ingest/readers/compressed.py"
ZIP_DIRECTORY = "app/ingest/readers/zip_directory.py"
BUDGET = "app/ingest/memory_budget.py"
CHILD_MEMORY = "workers/process/memory.py"
ESTIMATE = "app/services/jobs/memory_estimate.py"
CODING_TESTS = ("tests/app/api/test_codings.py",)
BODY_TESTS = ("tests/app/api/test_bodies.py",)
ORIGIN_TESTS = ("tests/app/validation/test_origins.py",)
CONNECTION_TESTS = ("tests/app/test_connections.py",)
THREAD_TESTS = ("tests/app/test_thread_pools.py",)
ARCHIVE_TESTS = ("tests/app/ingest/readers",)
BUDGET_TESTS = ("tests/app/ingest/test_memory_budget.py",)
ESTIMATE_TESTS = ("tests/app/services/jobs/test_memory_estimate.py",)

LIMIT_FAULTS = (
    Mutation(
        "a body unpacks to any multiple of its size", CODINGS,
        "if self._unpacked > max(RATIO_FREE_BYTES, MAX_DECODED_RATIO * self._packed):", "if False:",
        CODING_TESTS,
    ),
    Mutation(
        "all of gzip is decompressed at once", CODINGS,
        "self._stream.decompress(packed, PIECE_BYTES)", "self._stream.decompress(packed)", CODING_TESTS,
    ),
    Mutation(
        "all of Zstandard is decompressed at once", CODINGS,
        "self._frame.decompress(packed, PIECE_BYTES)", "self._frame.decompress(packed)", CODING_TESTS,
    ),
    Mutation(
        "a frame may have any window", CODINGS,
        "MAX_WINDOW_LOG = 23", "MAX_WINDOW_LOG = 27", CODING_TESTS,
    ),
    Mutation(
        "a body that ends within its stream is taken for whole", CODINGS,
        "if self._done and self._packed and not self._stream.ended:", "if False:", CODING_TESTS,
    ),
    Mutation("a body in pieces may have any size", BODIES, "if size > limit:", "if False:", BODY_TESTS),
    Mutation(
        "an announced size is not looked at", BODIES,
        "if announced.isdigit() and int(announced) > limit:", "if False:", BODY_TESTS,
    ),
    Mutation(
        "bodies together may take all memory", BODIES,
        "if self.held > MAX_WHOLE_BODIES * limit:", "if False:", BODY_TESTS,
    ),
    Mutation(
        "a refused body counts for ever", BODIES,
        "            self.release(size)\n            raise", "            raise", BODY_TESTS,
    ),
    Mutation(
        "any host is answered for", ORIGINS, "if not self._answers_for(host):", "if False:", ORIGIN_TESTS
    ),
    Mutation(
        "a page of another origin may change something", ORIGINS,
        "            _check_origins(hosts, origins)", "            pass", ORIGIN_TESTS,
    ),
    Mutation(
        "a client may have all connections", CONNECTIONS,
        "if len(same) >= self._limits.per_client and", "if False and", CONNECTION_TESTS,
    ),
    Mutation(
        "connections are not bounded", CONNECTIONS,
        "if len(self._all) >= self._limits.total and", "if False and", CONNECTION_TESTS,
    ),
    Mutation(
        "each address of a network is a client", CONNECTIONS,
        "NEW_CLIENT_PREFIX = 64", "NEW_CLIENT_PREFIX = 128", CONNECTION_TESTS,
    ),
    Mutation(
        "those that waited shortest make room", CONNECTIONS,
        "heapq.nsmallest(", "heapq.nlargest(", CONNECTION_TESTS,
    ),
    Mutation(
        "any number of calls waits for threads", THREADS,
        "        if self.full:", "        if False:", THREAD_TESTS,
    ),
    Mutation(
        "a call that has ended still counts", THREADS,
        "            self._calls -= 1", "            pass", THREAD_TESTS,
    ),
    Mutation(
        "an archive unpacks to any size", ARCHIVE,
        "        if total > limits.total_bytes:", "        if False:", ARCHIVE_TESTS,
    ),
    Mutation(
        "an archive unpacks to any multiple of its size", ARCHIVE,
        "        if total > limits.ratio_free_bytes and total > limits.ratio * packed:", "        if False:",
        ARCHIVE_TESTS,
    ),
    Mutation(
        "a member unpacks to any size", ARCHIVE,
        "            entry.size > limits.member_bytes,", "            False,", ARCHIVE_TESTS,
    ),
    Mutation(
        "a compressed file unpacks to any multiple of its size", COMPRESSED,
        "if size > limits.ratio_free_bytes and size > limits.ratio * self._packed_bytes:", "if False:",
        ARCHIVE_TESTS,
    ),
    Mutation(
        "a compressed file unpacks to any size", COMPRESSED,
        "        if size > limits.total_bytes:", "        if False:", ARCHIVE_TESTS,
    ),
    Mutation(
        "an archive has any number of members", ZIP_DIRECTORY,
        "    if count > max_members:", "    if False:", ARCHIVE_TESTS,
    ),
    Mutation(
        "children that read files take all memory", BUDGET,
        "            self._free_bytes -= memory_bytes", "            pass", BUDGET_TESTS,
    ),
    Mutation(
        "memory of children that ended is never free", BUDGET,
        "                self._free_bytes += memory_bytes", "                pass", BUDGET_TESTS,
    ),
    Mutation(
        "a child takes more memory than it may", CHILD_MEMORY,
        "private_bytes(self._pid) > self._limit_bytes", "False", ("tests/workers/jobs/test_supervisor.py",),
    ),
    Mutation(
        "a job that needs more memory than there is is taken", ESTIMATE,
        "    if needed.total <= most:", "    if True:", ESTIMATE_TESTS,
    ),
    Mutation(
        "a batch of more rows than there are is refused", ESTIMATE,
        'min(training["batch_size"], workload.examples)\n    steps', 'training["batch_size"]\n    steps',
        ESTIMATE_TESTS,
    ),
)  # fmt: skip
