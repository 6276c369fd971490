"""The exceptions that a dead, hanging or refusing Redis server can cause."""

from redis.exceptions import RedisError

REDIS_FAILURES = (RedisError, OSError)
