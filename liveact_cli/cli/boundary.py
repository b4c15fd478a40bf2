"""The one place where exceptions become sentences, hints and exit statuses."""

import errno
import traceback
from collections.abc import Callable

from liveact_cli.cli.context import Environment
from liveact_cli.core.errors import DeviceError, ExitCode, LiveActError, UsageError, WeightsError

_OUT_OF_MEMORY = "give it a shorter piece (--duration), a smaller picture (--size), or more memory"

_OS_ERRORS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space is left on the disk", "free some space, or write elsewhere with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere with -o"),
    errno.EFBIG: ("the file grew beyond the size limit", "raise the limit (ulimit -f)"),
    errno.EACCES: ("no permission", "check who owns it, or choose another place with -o"),
    errno.EPERM: ("no permission", "check who owns it, or choose another place with -o"),
    errno.EROFS: ("the disk is read-only", "choose another place with -o"),
    errno.ENOENT: ("there is no such file", "check the path"),
    errno.EISDIR: ("this is a directory, not a file", "give the path of a file"),
    errno.ENOTDIR: ("part of the path is a file, not a directory", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name with -o"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
}


def translate(error: BaseException) -> LiveActError | None:
    """Return what `error` means to a user, or None when it is a fault of this program."""
    if isinstance(error, LiveActError):
        return error
    # Usage errors of the option parser; its classes have no stable import path across versions.
    if hasattr(error, "format_message"):
        return _usage_error(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return DeviceError("the memory of this machine or device is used up", _OUT_OF_MEMORY)
    if isinstance(error, OSError) and error.errno in _OS_ERRORS:
        sentence, hint = _OS_ERRORS[error.errno]
        return LiveActError(f"{sentence}: {error.filename}" if error.filename else sentence, hint)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("liveact_cli"):
        return WeightsError(
            f"the package {error.name} is not installed", f"install it: pip install {error.name}"
        )
    return None


def _usage_error(error: BaseException) -> UsageError:
    text = str(getattr(error, "format_message")()).strip()  # noqa: B009  (mypy cannot know it)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "liveact"
    return UsageError(text[:1].lower() + text[1:].rstrip("."), f"{command} --help")


def report(error: BaseException, environment: Environment, *, as_json: bool) -> ExitCode:
    """Tell about `error` on stderr, with JSON on stdout too, and return the exit status."""
    if environment.debug:
        environment.stderr.write("".join(traceback.format_exception(error)))
    known = translate(error)
    if known is not None:
        message, hint, code = known.message, known.hint, known.exit_code
    else:
        detail = " ".join(str(error).split())
        message = f"internal error: {type(error).__name__}" + (f": {detail}" if detail else "")
        hint = "this is our fault; run it again with LIVEACT_DEBUG=1 and report what it prints"
        code = ExitCode.BUG
    word = "interrupted" if code is ExitCode.INTERRUPTED else "error"
    environment.say(f"{word}: {message}")
    if hint:
        environment.say(f"\nhint: {hint}")
    if as_json:
        failure = {"message": message, "hint": hint, "exit_code": int(code)}
        environment.result_json({"ok": False, "error": failure})
    return code


def guarded(action: Callable[[], object], environment: Environment, *, as_json: bool) -> int:
    """Run `action` and return its exit status; nothing but the status leaves this function."""
    try:
        status = action()
    except KeyboardInterrupt:
        environment.say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.OK  # whoever read our output has seen enough
    except Exception as error:  # noqa: BLE001  (the boundary: every failure becomes a sentence here)
        return report(error, environment, as_json=as_json)
    return status if isinstance(status, int) else ExitCode.OK
