"""How the work of a transformer is shared among devices, in whole numbers."""

from liveact_cli.core.errors import UsageError


def check_heads(heads: int, ranks: int) -> None:
    """Refuse a number of devices that the heads cannot be shared by, with the numbers."""
    if heads % ranks:
        fitting = [str(n) for n in range(1, min(heads, 16) + 1) if heads % n == 0]
        raise UsageError(
            f"{heads} attention heads cannot be shared evenly by {ranks} GPUs",
            f"--gpus takes {', '.join(fitting[:-1])} or {fitting[-1]} for this model",
        )


def shares(tokens: int, ranks: int) -> list[int]:
    """Share the tokens of a frame: 1170 on 4 devices are 293, 293, 292 and 292."""
    even, more = divmod(tokens, ranks)
    return [even + (rank < more) for rank in range(ranks)]
