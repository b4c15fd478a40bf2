"""Rank 0's side of a transformer on several devices: it starts, tells, watches and ends the others.

This process reads, draws and writes as if it were alone; `Crew.transformer` is a transformer like
any other, whose calls the other ranks follow. They hold its weights and their heads of the memory.
"""

import itertools
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import torch
import torch.distributed as dist
from torch import Tensor

from liveact_cli.core.errors import DeviceError, ExitCode, LiveActError
from liveact_cli.core.sharing import check_heads
from liveact_cli.model.memory import Bank
from liveact_cli.model.transformer import Audio, Context, LiveActTransformer
from liveact_cli.runtime.build import follow_plan
from liveact_cli.runtime.fp8 import FP8Plan
from liveact_cli.runtime.launch import Ended, Launch, Pipe
from liveact_cli.runtime.orders import (
    Attach,
    Build,
    ClearMemory,
    End,
    Failed,
    FollowPlan,
    Forget,
    Forward,
    Keep,
    LoadMemory,
    Make,
    NewMemory,
    Order,
    Perform,
    Post,
    Ready,
    SaveMemory,
    Start,
    meeting_point,
    pack,
)
from liveact_cli.runtime.ulysses import HeadMemory, Team, parallelize

PATIENCE: Final = 300.0
"""Seconds that one exchange between the ranks may take; they work in step, so it takes moments."""
GRACE: Final = 5.0
"""Seconds after a failed exchange within which the rank that caused it is known to have ended."""
STUCK: Final = 20.0
"""Seconds after a rank's end after which a GPU that still waits for it is given up."""
CONDITIONS: Final = 4
"""Conditions that the ranks keep: the text, the sound, its silence, the picture's latents."""


@dataclass
class _Member:
    """Another rank: the pipe to its process, and what became of it."""

    post: Post
    pipe: Pipe | None
    ready: bool = False
    end: Ended | None = None
    last: Failed | None = None
    thread: threading.Thread = field(init=False)

    @property
    def failure(self) -> LiveActError:
        """What its end means to the user."""
        post, code = self.post, None if self.end is None else self.end.code
        name = f"the process of {post.device} ({post.rank + 1} of {post.ranks})"
        if self.last is not None and self.last.error is not None:
            return self.last.error
        if self.last is not None:
            error = DeviceError(f"{name} failed: {self.last.sentence}", "liveact doctor")
            error.add_note(self.last.trace)
            return error
        if code is not None and code < 0:
            return DeviceError(
                f"{name} was killed by {signal.Signals(-code).name}",
                "a system that runs out of memory does that; otherwise run it again",
            )
        how = "does not answer any more" if code is None else f"ended with status {code}"
        return DeviceError(f"{name} {how}", "run it again")

    def send(self, words: bytes) -> None:
        """Tell it something; raises OSError when it has ended."""
        if self.pipe is None:
            raise BrokenPipeError
        self.pipe.send_bytes(words)


class Crew:
    """A transformer that several processes on this machine share; close it in the end."""

    transformer: LiveActTransformer

    def __init__(
        self,
        build: Build,
        devices: Sequence[torch.device],
        *,
        heads: int,
        patience: float = PATIENCE,
        stuck: float | None = None,
        overlap: bool = True,
    ) -> None:
        """Start a process for each device but the first, and build the transformer in all.

        `heads` is how many attention heads it will have, `overlap` lets them exchange while they
        compute (the same numbers). Raises UsageError when they cannot be
        shared evenly, DeviceError when a process ends, and whatever `build` raises.
        """
        check_heads(heads, len(devices))
        self._stuck = STUCK if stuck is None and devices[0].type == "cuda" else stuck
        self._patience = patience
        self._changed = threading.Condition()
        self._turn = threading.RLock()
        self._closing = threading.Event()
        self._failure: LiveActError | None = None
        self._in_step = True
        self._numbers = itertools.count()
        self._kept: dict[int, Any] = {}
        self._banks: weakref.WeakKeyDictionary[Bank, tuple[int, int]] = weakref.WeakKeyDictionary()
        self._dropped: list[int] = []
        self._detached: list[int] = []
        self._team: Team | None = None
        self._members: list[_Member] = []
        self._launch: Launch | None = None
        ranks, threads = len(devices), torch.get_num_threads()
        store = meeting_point(ranks)
        posts = [
            Post(rank, ranks, device, store.port, patience, threads, overlap)
            for rank, device in enumerate(devices)
        ]
        try:
            self._start(posts[1:], build)
            self.transformer = build(device=devices[0])
            self._gather(posts[0], store)
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> bool:
        """Whether the work cannot go on: a process ended, or they are out of step."""
        return self._failure is not None or not self._in_step

    def __enter__(self) -> Self:
        """Be closed at the end of a with block."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the processes; an error that a lost rank caused is told as such."""
        failure = self._failure
        self.close()
        if failure is not None and isinstance(error, Exception) and error is not failure:
            raise failure from error

    def close(self) -> None:
        """End the other processes; they leave at once where something has failed."""
        if self._closing.is_set():
            return
        self._closing.set()
        in_step = self._team is not None and not self.lost
        if in_step:
            with suppress(RuntimeError, OSError):
                self._tell(End())
                dist.destroy_process_group()
        if self._launch is not None:
            self._launch.close(GRACE if in_step else 0.0)
        for member in self._members:
            member.thread.join()
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()

    # Starting and watching ---------------------------------------------------------------------

    def _start(self, posts: Sequence[Post], build: Build) -> None:
        self._launch = launch = Launch("liveact_cli.runtime.follower", len(posts))
        for post, pipe in zip(posts, launch.pipes(), strict=True):
            member = _Member(post, pipe)
            self._members.append(member)
            member.thread = threading.Thread(target=self._watch, args=(member,), daemon=True)
            with suppress(OSError):  # it has ended already: that is seen below
                if pipe is not None:
                    pipe.send(Start(post, build))
            member.thread.start()

    def _watch(self, member: _Member) -> None:
        """Listen to a rank until it ends; runs in a thread of its own."""
        assert self._launch is not None
        with suppress(EOFError, OSError):
            while member.pipe is not None:
                message = member.pipe.recv()
                with self._changed:
                    member.ready = member.ready or isinstance(message, Ready)
                    member.last = message if isinstance(message, Failed) else None
                    self._changed.notify_all()
        end = Ended(0) if self._closing.is_set() else self._launch.end_of(member.post.rank - 1)
        with self._changed:
            member.end = end
            lost = not end.by_itself or (member.last is not None and member.last.lost)
            first = self._failure is None and not lost and not self._closing.is_set()
            if first:
                self._failure = member.failure
            self._changed.notify_all()
        if first and self._stuck is not None:
            self._give_up(member.failure)

    def _give_up(self, failure: LiveActError) -> None:
        """A GPU waits for a lost rank without end: free it, and if that fails end all."""
        assert self._stuck is not None
        if self._team is not None and self._team.group.name() == "nccl":
            with suppress(RuntimeError):
                self._team.group.abort()
        if not self._closing.wait(self._stuck):
            sys.stderr.write(f"error: {failure.message}\n\nhint: {failure.hint}\n")
            sys.stderr.flush()
            os._exit(ExitCode.DEVICE)

    def _gather(self, post: Post, store: Any) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: all(m.ready or m.end for m in self._members) or self._failure is not None
            )
        with self._watched():
            for member in self._members:
                member.send(b"")
            self._team = parallelize(self.transformer, post.meet(store), overlap=post.overlap)
        storage = self.transformer.storage
        self.transformer.memory_type = partial(_LeadMemory, self, self._team, storage=storage)
        forward = self.transformer.forward
        self.transformer.forward = partial(self._forward, forward)  # type: ignore[method-assign]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Do something with all ranks, in turn; say so when one of them is lost."""
        with self._turn:
            if self._failure is not None:
                raise self._failure
            try:
                yield
            except BaseException as error:
                self._in_step = False
                if failure := self._cause(error):
                    raise failure from error
                raise

    def _cause(self, error: BaseException) -> LiveActError | None:
        """Return the lost rank that made an exchange fail, if that is what happened."""
        if isinstance(error, torch.OutOfMemoryError) or not isinstance(
            error, RuntimeError | OSError
        ):
            return None
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None, GRACE)
            silent = "timed out" in str(error).lower()
            if self._failure is None and (silent or isinstance(error, OSError)):
                why = f"one did not answer for {self._patience:g} s" if silent else str(error)
                self._failure = DeviceError(
                    f"the processes of the {len(self._members) + 1} devices lost each other: {why}",
                    "run it again; --gpus 1 does without them",
                )
            return self._failure

    # Telling -----------------------------------------------------------------------------------

    def _tell(self, order: Order) -> None:
        """Let all ranks do something; this one must do the same right after."""
        assert self._team is not None
        if self._dropped or self._detached:
            dropped, detached = tuple(self._dropped), tuple(self._detached)
            del self._dropped[: len(dropped)]
            del self._detached[: len(detached)]
            self._tell(Forget(memories=dropped, attached=detached))
        payload, tensors = pack(order)
        for member in self._members:
            member.send(payload)
        for tensor in tensors:
            self._team.spread(tensor.to(self.transformer.device).contiguous())

    def _forward(
        self,
        forward: Any,
        x: Tensor,
        time: float,
        context: Context,
        audio: Audio | None,
        bank: Bank,
        y: Tensor | None = None,
    ) -> Tensor:
        """Stand for `LiveActTransformer.forward`."""
        with self._watched():
            text, sound, picture = (self._number_of(value) for value in (context, audio, y))
            self._tell(Forward(x, time, text, sound, *self._banks[bank], picture))
            velocity: Tensor = forward(x, time, context, audio, bank, y)
            return velocity

    def _number_of(self, value: object) -> int | None:
        """Return the number under which the ranks keep a condition; send it if it is new."""
        if value is None:
            return None
        for number, kept in self._kept.items():
            if kept is value:
                self._kept[number] = self._kept.pop(number)  # the latest used stands last
                return number
        number = next(self._numbers)
        while len(self._kept) >= CONDITIONS:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._tell(Forget(kept=(oldest,)))
        self._tell(Keep(number, value))
        self._kept[number] = value
        return number

    def enlist(self, memory: "_LeadMemory", arguments: tuple[Any, ...], options: Any) -> int:
        """Let the ranks allocate their heads of a memory; they free them when it is gone."""
        number = next(self._numbers)
        with self.together(NewMemory(number, arguments, options)):
            weakref.finalize(memory, self._dropped.append, number).atexit = False
        return number

    def know(self, memory: "_LeadMemory") -> None:
        """Take note of the banks of a memory, so that calls can name them."""
        for step, bank in memory.banks.items():
            self._banks[bank] = memory.number, step

    def follow_plan(self, plan: FP8Plan, checkpoint: Path) -> None:
        """Let all ranks give the layers that an FP8 plan does not name their precision back."""
        with self.together(FollowPlan(plan, checkpoint)):
            follow_plan(self.transformer, plan, checkpoint, self.transformer.device)

    def attach(self, make: Make) -> "Attached":
        """Make something on every rank, whose methods all call at the same time from then on."""
        assert self._team is not None
        number = next(self._numbers)
        with self.together(Attach(number, make)):
            attached = Attached(self, number, make(team=self._team, device=self.transformer.device))
        weakref.finalize(attached, self._detached.append, number).atexit = False
        return attached

    @contextmanager
    def together(self, order: Order) -> Iterator[None]:
        """Do with all ranks what `order` says and the block does here."""
        with self._watched():
            self._tell(order)
            yield


class Attached:
    """Something that all ranks hold; the others free theirs when this is gone."""

    def __init__(self, crew: Crew, number: int, held: Any) -> None:
        """Hold rank 0's."""
        self._crew, self._number, self._held = crew, number, held

    def perform(self, method: str, *arguments: Any) -> Any:
        """Call a method on every rank; return what it gives here."""
        with self._crew.together(Perform(self._number, method, arguments)):
            return getattr(self._held, method)(*arguments)


class _LeadMemory(HeadMemory):
    """Rank 0's heads of a memory; the other ranks hold theirs."""

    def __init__(
        self, crew: Crew, team: Team, *arguments: Any, device: Any, storage: Any, **options: Any
    ) -> None:
        self._crew = crew
        self.number = crew.enlist(self, arguments, options)
        super().__init__(team, *arguments, device=device, storage=storage, **options)
        crew.know(self)

    def clear(self) -> None:
        """Forget everything, on all ranks."""
        with self._crew.together(ClearMemory(self.number)):
            super().clear()

    def state(self, *, whole: bool = False) -> dict[str, Tensor]:
        """Return what `ConvMemory.state` does, gathered from the ranks."""
        with self._crew.together(SaveMemory(self.number, whole)):
            return super().state(whole=whole)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state()`, on all ranks."""
        with self._crew.together(LoadMemory(self.number, state)):
            super().load_state(state)
