"""Faults in keys, projects, their limits and the fair share."""

from benchmarks.mutations.mutation import Mutation

AUTHENTICATION = "app/services/access/authentication.py"
KEYS = "app/services/access/keys.py"
RATES = "app/services/access/rates.py"
USAGE = "app/services/access/usage.py"
FAIR_SHARE = "app/services/access/fair_share.py"
DECLARED = "app/api/access/declared.py"
IDENTITY = "app/api/access/identity.py"
PROJECTS = "app/database/projects.py"
EXPOSURE = "app/infrastructure/processes/exposure.py"
LOOKUPS = "app/services/lookup_cache.py"
RATE_TESTS = ("tests/app/services/access/test_rates.py",)
AUTHENTICATION_TESTS = ("tests/app/services/access/test_authentication.py",)
FAIR_SHARE_TESTS = ("tests/app/services/access/test_fair_share.py",)
KEY_TESTS = ("tests/app/api/access/test_keys.py",)
MATRIX_TESTS = ("tests/app/api/access/test_matrix.py",)
PROJECT_TESTS = ("tests/app/database/test_projects.py",)
EXPOSURE_TESTS = ("tests/app/infrastructure/test_exposure.py",)

KEY_FAULTS = (
    Mutation(
        "any secret goes with a known prefix", AUTHENTICATION,
        "if known is None or not hmac.compare_digest(known.digest, keys.digest(key)):",
        "if known is None:", AUTHENTICATION_TESTS,
    ),
    Mutation(
        "a key outlives its end", AUTHENTICATION,
        "if time.monotonic() >= known.until:", "if False:", AUTHENTICATION_TESTS,
    ),
    Mutation(
        "keys stay valid in an outage for ever", AUTHENTICATION,
        "LookupCache(self._fetch, MAX_KEYS, MAX_OUTAGE_SECONDS)", "LookupCache(self._fetch, MAX_KEYS)",
        AUTHENTICATION_TESTS,
    ),
    Mutation(
        "no rate is counted", AUTHENTICATION,
        "        await self._rates.count(known.caller)\n", "", AUTHENTICATION_TESTS + KEY_TESTS,
    ),
    Mutation(
        "a revoked key is valid", KEYS,
        "valid = (Key.prefix == prefix, Key.revoked_at.is_(None), alive)",
        "valid = (Key.prefix == prefix, alive)", AUTHENTICATION_TESTS + KEY_TESTS,
    ),
    Mutation(
        "a rotated key keeps its secret", KEYS,
        "    row.digest = digest(key)\n", "", KEY_TESTS,
    ),
    Mutation("a rate has no limit", RATES, "if wait > 0:", "if False:", AUTHENTICATION_TESTS + KEY_TESTS),
    Mutation(
        "each process counts requests by itself", RATES,
        "if time.monotonic() >= self._distrusted_until:", "if False:", RATE_TESTS,
    ),
    Mutation(
        "a key may queue one job more", USAGE,
        "queued_jobs >= limit:", "queued_jobs > limit:", KEY_TESTS + FAIR_SHARE_TESTS,
    ),
    Mutation(
        "what is stored already does not count", USAGE,
        "if measure(session, caller).stored_bytes + new_bytes > limit:", "if new_bytes > limit:",
        KEY_TESTS,
    ),
    Mutation(
        "projects take turns by name only", FAIR_SHARE,
        "(running.get(project, 0), started[project], project)", "project", FAIR_SHARE_TESTS,
    ),
    Mutation(
        "a key runs one job more than it may", FAIR_SHARE,
        "if _running_jobs(session, key) >= (key.running_jobs or 0)]",
        "if _running_jobs(session, key) > (key.running_jobs or 0)]", FAIR_SHARE_TESTS,
    ),
    Mutation(
        "scopes are not looked at", DECLARED,
        "            caller.require(self.scope)\n", "            pass\n", MATRIX_TESTS,
    ),
    Mutation(
        "FastAPI's routes need no scope", IDENTITY,
        "    access.check(identity.caller)\n", "", MATRIX_TESTS,
    ),
    Mutation(
        "nothing is recorded", IDENTITY,
        'if message["type"] == "http.response.start" and self._identity.action is not None:', "if False:",
        KEY_TESTS,
    ),
    Mutation(
        "a session sees every project", PROJECTS,
        "if project != ALL_PROJECTS:", "if False:", PROJECT_TESTS + MATRIX_TESTS,
    ),
    Mutation(
        "aliases of tables see every project", PROJECTS,
        ", include_aliases=True", "", PROJECT_TESTS,
    ),
    Mutation(
        "a row may be given to another project", PROJECTS,
        "elif session_project(session) not in (row.project, ALL_PROJECTS):", "elif False:", PROJECT_TESTS,
    ),
    Mutation(
        "a service without keys listens everywhere", EXPOSURE,
        "if not all(ipaddress", "if not any(ipaddress", EXPOSURE_TESTS,
    ),
    Mutation(
        "what was read before a change is kept", LOOKUPS,
        "if invalidations == self._invalidations:", "if True:",
        (*AUTHENTICATION_TESTS, "tests/app/services/serving/test_version_router.py"),
    ),
)  # fmt: skip
