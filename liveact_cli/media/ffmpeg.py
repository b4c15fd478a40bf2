"""Finding and running ffmpeg: which binary, how it is fed, how it ends, what its complaints mean.

A process started here never outlives us: either we feed its input, which closes with us, or we
read its output, which breaks with us. That holds after `kill -9` and on every system, where a
parent-death signal holds on Linux only and is bound to the thread that asked for it.
"""

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import imageio_ffmpeg

from liveact_cli.core.errors import LiveActError, WeightsError

OVERRIDE: Final = "LIVEACT_FFMPEG"
"""Environment variable with the path of the ffmpeg to use."""

_ENCODERS: Final = ("libx264", "aac")
_QUIET: Final = ["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
_PIPE_BYTES: Final = 1 << 20
_KEPT_LINES: Final = 200
_PATIENCE: Final = 120.0
_GET_FFMPEG: Final = "pip install imageio-ffmpeg, which brings one"


def find_ffmpeg(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the ffmpeg to run: LIVEACT_FFMPEG, else PATH's, else imageio-ffmpeg's.

    PATH's is passed over when it lacks an encoder that we need (builds without x264 are common).
    `environ` defaults to the process's. Raises WeightsError when there is none.
    """
    environ = os.environ if environ is None else environ
    if override := environ.get(OVERRIDE):
        if (found := shutil.which(override)) is None:
            raise WeightsError(
                f"{OVERRIDE} names {override!r}, which is not a program",
                f"unset {OVERRIDE}, or set it to the path of ffmpeg",
            )
        return found
    found = shutil.which("ffmpeg", path=environ.get("PATH", os.defpath))
    if found is not None and not missing_encoders(found):
        return found
    with contextlib.suppress(RuntimeError):
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    if found is not None:
        lacking = " and ".join(missing_encoders(found))
        raise WeightsError(f"{found} has no encoder {lacking}", _GET_FFMPEG)
    raise WeightsError("ffmpeg was not found", _GET_FFMPEG)


@functools.cache
def missing_encoders(executable: str) -> tuple[str, ...]:
    """Return which of the encoders that we need `executable` lacks (all, if it does not run)."""
    try:
        answer = subprocess.run(
            [executable, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return _ENCODERS
    has = {words[1] for line in answer.stdout.splitlines() if len(words := line.split()) > 1}
    return tuple(encoder for encoder in _ENCODERS if encoder not in has)


@functools.cache
def ffmpeg_version(executable: str) -> str:
    """Return the version that `executable` reports of itself, such as `7.1`."""
    try:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsError(f"{executable} does not run: {error}", _GET_FFMPEG) from error
    words = answer.stdout.split(maxsplit=3)
    return words[2] if words[:2] == ["ffmpeg", "version"] else "unknown"


class FfmpegError(LiveActError):
    """An ffmpeg process failed; `complaint` is what it wrote, `returncode` how it ended."""

    def __init__(self, message: str, hint: str, complaint: str, returncode: int) -> None:
        super().__init__(message, hint)
        self.complaint = complaint
        self.returncode = returncode


class FfmpegProcess:
    """A running ffmpeg whose input we write (`feed`) or whose output we read (`collect`), or both.

    `pipeline` is an ffmpeg-python output; `task` completes "ffmpeg could not …" in messages.
    Leaving the `with` block kills what still runs. Ctrl-C at the terminal does not reach the
    process (it has a group of its own), so that a file can be closed properly after it.
    """

    def __init__(self, pipeline: Any, task: str, *, feed: bool = False, collect: bool = False):
        if not (feed or collect):
            raise ValueError("an ffmpeg without a pipe to us could outlive us")
        self._task = task
        args = pipeline.compile(cmd=[find_ffmpeg(), *_QUIET])
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                args,
                bufsize=0,
                stdin=pipe if feed else null,
                stdout=pipe if collect else null,
                stderr=pipe,
                process_group=0,
                env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            )
        except OSError as error:
            raise WeightsError(
                f"{args[0]} cannot be started: {error.strerror}", _GET_FFMPEG
            ) from error
        self._input, self._output = self._process.stdin, self._process.stdout
        for stream in (self._input, self._output):
            if stream is not None:
                _widen(stream.fileno())
        self._lines: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def write(self, data: memoryview | bytes) -> None:
        """Write all of `data` to its input; FfmpegError with its own words when it has ended."""
        assert self._input is not None
        view = memoryview(data).cast("B")
        try:
            while view:
                view = view[self._input.write(view) :]
        except OSError as error:
            self._await_end()
            raise self._failure() from error

    def read_blocks(self, size: int) -> Generator[bytes]:
        """Yield its output in blocks of `size` bytes (the last is the rest), then check its end."""
        assert self._output is not None
        held: list[bytes] = []
        missing = size
        while data := self._output.read(missing):
            held.append(data)
            missing -= len(data)
            if not missing:
                yield b"".join(held)
                held, missing = [], size
        if held:
            yield b"".join(held)
        self.finish()

    def close_input(self) -> None:
        """Tell it that no more will come."""
        if self._input is not None:
            # A broken pipe here is reported by finish(), with ffmpeg's own words.
            with contextlib.suppress(OSError):
                self._input.close()

    def finish(self) -> None:
        """Wait for its end; FfmpegError when it failed."""
        self.close_input()
        self._await_end()
        if self._process.returncode != 0:
            raise self._failure()

    def ended(self) -> bool:
        """Say whether it has ended, in whatever way."""
        return self._process.poll() is not None

    def _await_end(self) -> None:
        """Give it time to end by itself, then kill it."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()

    def stop(self) -> None:
        """End it now, from any thread; whoever reads or writes its pipes notices."""
        self._process.kill()

    def kill(self) -> None:
        """End it now, if it still runs, and free its pipes."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._input, self._output, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def complaint(self) -> str:
        """What it wrote to its error output so far."""
        return "\n".join(self._lines)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for raw in iter(self._process.stderr.readline, b""):
                if len(self._lines) < _KEPT_LINES:
                    self._lines.append(raw.decode("utf-8", "replace").strip())

    def _failure(self) -> FfmpegError:
        code = self._process.returncode
        cause, hint = _explain(code, self.complaint)
        return FfmpegError(f"ffmpeg could not {self._task}: {cause}", hint, self.complaint, code)


def explain_os_error(error: OSError) -> tuple[str, str]:
    """Return what a failed write means, and what helps."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the disk", "free some space, or write elsewhere with -o"
    if error.errno == errno.EFBIG:
        return "the limit of file sizes was reached", "raise it with `ulimit -f`"
    return error.strerror or str(error), ""


def _explain(code: int, complaint: str) -> tuple[str, str]:
    """Return the cause behind an exit status and the words written before it, and what helps."""
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        if os.strerror(number) in complaint:
            return explain_os_error(OSError(number, os.strerror(number)))
    if code == -signal.SIGXFSZ:
        return explain_os_error(OSError(errno.EFBIG, ""))
    if code < 0:
        name = signal.Signals(-code).name
        hint = "the system kills processes when memory runs out" if code == -signal.SIGKILL else ""
        return f"it was ended by {name}", hint
    lines = [line for line in complaint.splitlines() if line]
    return (lines[-1] if lines else f"it ended with status {code}"), ""


def _widen(descriptor: int) -> None:
    """Let a whole frame fit into the pipe, where the system allows it: fewer switches."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def sync_file(path: Path) -> None:
    """Return when the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
