"""What can go wrong for a user: one sentence with the values, a hint, and the exit status."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses of the command line; scripts rely on them, so they never change."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    BAD_MEDIA = 3
    MISSING_WEIGHTS = 4
    DEVICE = 5
    BATCH_PARTIAL = 6
    BUG = 70
    INTERRUPTED = 130


class LiveActError(Exception):
    """A failure with a known cause: `message` is a sentence with the values, `hint` what helps."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LiveActError):
    """The command line or a setting is wrong."""

    exit_code = ExitCode.USAGE


class MediaError(LiveActError):
    """An input file (sound, picture or script) cannot be used as it is."""

    exit_code = ExitCode.BAD_MEDIA


class WeightsError(LiveActError):
    """Weights or an optional dependency are missing or do not fit."""

    exit_code = ExitCode.MISSING_WEIGHTS


class DeviceError(LiveActError):
    """The device is missing, too small or failed."""

    exit_code = ExitCode.DEVICE


class Interrupted(LiveActError):
    """The user stopped the work; `message` says what is left of it."""

    exit_code = ExitCode.INTERRUPTED
