"""Seconds and bytes of a run's jobs on a machine, from measured runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from specbeam.cost.measured import Measured, Point
from specbeam.cost.models import BYTES, Network
from specbeam.cost.work import Job, Reading, Workload
from specbeam.errors import SpecbeamError

DOWNLOAD = "download_source"
"""Takes what the connection takes: some megabytes, which count as nothing here."""


@dataclass(frozen=True)
class Accelerator:
    """A GPU by its data sheet, and what of that a run is assumed to get."""

    flops: dict[str, float]
    """Peak floating-point operations a second, dense, by precision."""
    bandwidth: float
    """Bytes a second of its memory."""
    utilisation: float = 0.4
    """Share of the peak, of arithmetic and of bandwidth alike."""
    layer_seconds: float = 0.001
    """The least time of a layer in a pass, however small: the kernels of eager PyTorch are started one by one."""
    start_seconds: float = 60.0
    """Of each job: imports, and loading the models."""

    def seconds(self, reading: Reading, model: Network, precision: str, dtype: str) -> float:
        """Time of what one model reads, bound by arithmetic, by its weights' way from memory, or by its layers."""
        arithmetic = 2 * reading.tokens * model.read / self.flops.get(precision, self.flops["bfloat16"])
        memory = reading.passes * model.read * BYTES[dtype] / self.bandwidth
        return max(max(arithmetic, memory) / self.utilisation, reading.passes * model.layers * self.layer_seconds)


ACCELERATORS = {
    "a100": Accelerator({"float32": 19.5e12, "bfloat16": 312e12, "float16": 312e12}, 2.04e12),
    "h100": Accelerator({"float32": 67e12, "bfloat16": 989e12, "float16": 989e12}, 3.35e12),
    "a5000": Accelerator({"float32": 27.8e12, "bfloat16": 111e12, "float16": 111e12}, 0.768e12),
}
"""NVIDIA A100 80 GB SXM, H100 SXM and RTX A5000 (the paper's), from NVIDIA's data sheets."""


@dataclass(frozen=True)
class Line:
    """Seconds of a rule's jobs as `start + rate * work`."""

    start: float
    rate: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> "Line":
        """Through the (work, seconds) with the least and the most work; through one alone, and the origin."""
        (x0, y0), (x1, y1) = min(points), max(points)
        rate = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        start = y0 - rate * x0
        if rate <= 0 or start < 0:  # not told apart from noise: all of it grows
            start, rate = 0.0, y1 / x1
        return cls(start, rate)

    def at(self, work: float) -> float:
        """Seconds of a job with that much work."""
        return self.start + self.rate * work


@dataclass(frozen=True)
class Prediction:
    """A job as it is expected to be."""

    seconds: float
    """Wall time with all its workers."""
    workers: int
    """GPUs, or cores, that it takes; 0 for one that needs no GPU where GPUs are counted."""
    bytes: float


class Predictor:
    """Predicts jobs from measured runs: on their machine, or, what language models compute, on an accelerator."""

    def __init__(self, runs: Sequence[Measured], accelerator: Accelerator | None = None) -> None:
        """`runs`: one gives each rule a rate, several of different size a start as well.

        Raises SpecbeamError for runs of different devices.
        """
        if len(devices := {run.device for run in runs}) != 1:
            kinds = ", ".join(sorted(devices)) or "none"
            raise SpecbeamError(f"measured runs: expected runs on one kind of device, got {kinds}")
        self._runs, self._accelerator, self._on_cpu = runs, accelerator, devices == {"cpu"}
        self._points: dict[str, list[Point]] = {}

    def of(self, workload: Workload, job: Job) -> Prediction:
        """One job. SpecbeamError for a rule that no run has measured."""
        if job.rule == DOWNLOAD:
            return Prediction(0.0, 0, 0.0)
        points = self._measured(job.rule)
        size = job.stored * sum(point.taken.bytes for point in points) / sum(point.stored for point in points)
        if self._accelerator and job.models:
            return Prediction(self._accelerated(self._accelerator, workload, job), job.processes, size)
        column = "cpu_seconds" if self._on_cpu else "seconds"
        line = Line.through([(point.work, getattr(point.taken, column)) for point in points])
        seconds = line.at(workload.work(job))
        if self._accelerator or not self._on_cpu:
            return Prediction(seconds, job.processes * job.models, size)
        threads = workload.threads(job)
        return Prediction(seconds / threads, threads, size)

    def _accelerated(self, device: Accelerator, workload: Workload, job: Job) -> float:
        models = workload.settings.target.model, workload.settings.draft.model
        read = zip((job.target, job.draft), (workload.target, workload.draft), models, strict=True)
        alone = sum(device.seconds(reading, network, job.precision, model.dtype) for reading, network, model in read)
        return device.start_seconds + alone / job.processes

    def _measured(self, rule: str) -> list[Point]:
        if rule not in self._points:
            self._points[rule] = [point for run in self._runs for point in run.points(rule)]
        if not self._points[rule]:
            runs = ", ".join(run.run for run in self._runs)
            raise SpecbeamError(f"no measured run has {rule}: expected a finished run, got {runs}; let one finish")
        return self._points[rule]
