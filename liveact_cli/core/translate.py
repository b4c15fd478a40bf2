"""What an exception of the system or a library means to a user: one table."""

import errno

from liveact_cli.core.errors import DeviceError, LiveActError, WeightsError

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


def explain(error: BaseException) -> LiveActError | None:
    """Return what `error` means to a user, or None when it is a fault of this program."""
    if isinstance(error, LiveActError):
        return error
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
