"""The errors that reach a user: each says what, where, what was accepted and the remedy, and carries its exit code."""


class LulcError(Exception):
    """Any failure this project explains; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(LulcError):
    """A command or a run file that cannot mean anything: unknown key, wrong type, contradictory settings."""

    exit_code = 2


class InputError(LulcError):
    """Input that cannot be used: a missing file, an unreadable scene, a contract that does not hold."""

    exit_code = 3


class TooManyBad(LulcError):
    """More bad inputs than the user allows (`--max-bad`)."""

    exit_code = 4


class SetupError(LulcError):
    """A machine that cannot run this: no Java, no JARs, no room on the disk."""

    exit_code = 5
