"""What the environment tells parts of a service under test; light, since training children import it too."""

MARK = "RECURRA_FAULTS"  # in the environment of every process that is ours to end
PROGRAM, OFF = f"{MARK}_PROGRAM", f"{MARK}_OFF"  # what the launcher runs, and without which safeguard
AFFLICTED, SLOW = f"{MARK}_AFFLICTED", f"{MARK}_SLOW"  # trainings that misbehave, seconds that an end takes


def put(owner: object, **parts: object) -> None:
    """Exchange parts of a module or a class."""
    for name, part in parts.items():
        setattr(owner, name, part)
