"""A rank beside rank 0: `python -m liveact_cli.runtime.follower ADDRESS NUMBER`, run by a `Crew`.

It does what it is told over the pipe at ADDRESS, and ends when the pipe does: whatever happens to
rank 0, nothing stays behind.
"""

import os
import queue
import sys
import threading
import traceback

import torch

from liveact_cli.core.errors import LiveActError
from liveact_cli.runtime.launch import Pipe, connected
from liveact_cli.runtime.orders import End, Failed, Held, Ready, Start, unpack
from liveact_cli.runtime.ulysses import parallelize

Inbox = queue.SimpleQueue[bytes]


def main() -> int:
    """Follow rank 0 to its end; what goes wrong is told to it, and shown by it."""
    pipe = connected(sys.argv[1:])
    inbox: Inbox = queue.SimpleQueue()
    start = pipe.recv()
    assert isinstance(start, Start)
    threading.Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
    try:
        _follow(start, pipe, inbox)
    except Exception as error:  # noqa: BLE001  (rank 0 tells the user)
        known = error if isinstance(error, LiveActError) else None
        sentence = f"{type(error).__name__}: {' '.join(str(error).split())}"
        pipe.send(Failed(known, sentence, traceback.format_exc(), _lost_others(error)))
        return 1
    return 0


def _listen(pipe: Pipe, inbox: Inbox) -> None:
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)  # rank 0 is gone, and the main thread may be waiting for it for ever


@torch.inference_mode()
def _follow(start: Start, pipe: Pipe, inbox: Inbox) -> None:
    post = start.post
    torch.set_num_threads(post.threads)
    if post.device.type == "cuda":
        torch.cuda.set_device(post.device)
    transformer = start.build(device=post.device)
    pipe.send(Ready())
    inbox.get()  # an empty message: everybody is ready
    team = parallelize(transformer, post.meet(), overlap=post.overlap)
    held, order = Held(transformer, team), None
    while not isinstance(order, End):
        order = unpack(inbox.get(), team, post.device)
        order.run(held)


def _lost_others(error: Exception) -> bool:
    """Whether an exchange failed, which is never the first thing that goes wrong."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        word in text for word in ("connection", "gloo", "nccl", "timed out", "peer")
    )


if __name__ == "__main__":
    # Everything is done and told: what torch would tidy up, the system does sooner.
    os._exit(main())
