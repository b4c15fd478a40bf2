"""The one place where exceptions become sentences, hints and exit statuses."""

import traceback
from collections.abc import Callable

from liveact_cli.cli.context import Environment
from liveact_cli.core.errors import ExitCode, LiveActError, UsageError
from liveact_cli.core.translate import explain


def translate(error: BaseException) -> LiveActError | None:
    """Return what `error` means to a user, or None when it is a fault of this program."""
    # Usage errors of the option parser; its classes have no stable import path across versions.
    if hasattr(error, "format_message"):
        return _usage_error(error)
    return explain(error)


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
