"""A long check in stages: figures with their aims, kept on the disk as soon as they are there."""

import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from liveact_cli.diagnose.rates import Rate
from liveact_cli.runtime import fallbacks


@dataclass(frozen=True)
class Figure:
    """A number, and the aim that stands beside it: at least so much, or at most."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    better: Literal["more", "less"] = "more"

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.better == "more" else self.value <= self.aim

    def __str__(self) -> str:
        """Write it for people."""
        text = f"{self.name}: {self.value:.4g} {self.unit}"
        if self.aim is None:
            return text
        sign = "at least" if self.better == "more" else "at most"
        return f"{text} ({'reached' if self.reached else 'MISSED'}: {sign} {self.aim:g})"


@dataclass
class Stage:
    """What one stage has found."""

    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, aim: float | None = None,
            better: Literal["more", "less"] = "more") -> None:  # fmt: skip
        """Note a figure."""
        self.figures.append(Figure(name, value, unit, aim, better))

    def rate(self, found: Rate) -> None:
        """Note a rate."""
        unit = "TFLOP/s" if found.unit == "tflops" else "GB/s"
        self.add(f"{found.name} {found.shape}", found.value, unit)
        self.details.setdefault("rates", []).append(found.to_dict())


class Check:
    """Runs stages until the time is over and keeps what each has found."""

    def __init__(self, output: Path, minutes: float, tell: Callable[[str], None]) -> None:
        """Append to `output`; `tell` says lines to people."""
        self._output, self._tell = output, tell
        self._end = time.monotonic() + 60 * minutes
        self.failed: list[str] = []
        self.missed: list[str] = []

    def run(self, name: str, needs: float, work: Callable[[Stage], object]) -> bool:
        """Run a stage, unless fewer than `needs` seconds are left; say whether it went well."""
        left = self._end - time.monotonic()
        if left < needs:
            self._keep(name, {"skipped": f"{left:.0f} s left, about {needs:.0f} s needed"})
            self._tell(f"[{name}] skipped: out of time")
            return False
        stage, begun, problem = Stage(), time.monotonic(), None
        try:
            work(stage)
        except Exception as error:  # noqa: BLE001 (whatever it is, the next stage goes on)
            problem = f"{type(error).__name__}: {error}"
            stage.details["trace"] = traceback.format_exc(limit=-4)
            self.failed.append(name)
        if fallen := [str(each) for each in fallbacks.untold()]:
            stage.details["fallbacks"] = fallen
        seconds = time.monotonic() - begun
        record: dict[str, Any] = {"seconds": round(seconds, 2)}
        if problem is not None:
            record["failed"] = problem
        record["figures"] = [asdict(figure) for figure in stage.figures]
        self._keep(name, record | stage.details)
        self._tell(f"[{name}] {seconds:.1f} s")
        for figure in stage.figures:
            self._tell(f"    {figure}")
            if figure.reached is False:
                self.missed.append(f"{name}, {figure}")
        for text in fallen:
            self._tell(f"    FELL BACK: {text}")
        if problem is not None:
            self._tell(f"    FAILED: {problem}")
        return problem is None

    def _keep(self, name: str, record: dict[str, Any]) -> None:
        """Append a line and bring it to the disk: a run that is cut off loses nothing."""
        with self._output.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": name} | record) + "\n")
            file.flush()
            os.fsync(file.fileno())
