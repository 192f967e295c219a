"""What a job leaves beside its result: how that was made.

Not inside the result, where times and hosts would make those of equal runs differ (rows of records carry commit,
versions and machine all the same). No stage reads it, so it is no reason to run anything again.
"""

import functools
import logging
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from specbeam import files, kept, launch
from specbeam.digest import code_digest
from specbeam.masking import masked
from specbeam.provenance import beside, environment
from specbeam.provenance_file import FORMAT, how_made
from specbeam.stages import STAGES, StageSettings

log = logging.getLogger(__name__)


def recorded(
    stage: str | Callable[[Mapping[str, Any]], str], *, output: str, keep: Sequence[str] = ()
) -> Callable[[Callable], Callable]:
    """Decorate the verb of a stage: when it is done, its provenance lies beside the result that option `output` names.

    `stage` is one of STAGES, or chosen from the verb's options. The file holds format, stage, code (digest of the
    stage's modules), options, settings (what the stage reads, resolved), seeds, threads, what `environment` gives,
    host, slurm_job (or null), start (UTC), prepared (the start of the job that made the prepared data it reads, if
    known) and seconds; of the process since its own start, and of those that it has waited for, cpu_seconds and
    memory_mb (the most that one of them had). It is removed when the verb starts, so that it always tells of the result
    beside it. Of a training's processes only the main launcher and the main one write.

    On Slurm, what the options `keep` name is kept aside for an equal job (specbeam.kept), which then does nothing else.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def wrapped(**options: Any) -> None:
            if not options[output].name:  # `.`, beside which nothing could lie
                options[output] = options[output].resolve()
            path = beside(options[output])
            if launch.is_main():
                path.unlink(missing_ok=True)
            known = _known(stage if isinstance(stage, str) else stage(options), options)
            if launch.is_main():
                # Before anything can go wrong: Snakemake shows no other log of a job after one that is empty.
                log.info("%s on %s, %d thread(s)", known["stage"], known["host"], known["threads"])
            start = time.perf_counter()
            results = [path, *(options[name] for name in keep)]
            job = _identity(known, options, results) if keep and known["slurm_job"] else None
            if job and kept.take(results, job):
                log.info("%s: finished by an earlier submission, and kept", options[output])
                return
            verb(**options)
            if launch.is_main():
                known |= environment()
                if known["settings"].get("device") == "cpu":
                    known["device"] = "cpu"
                files.write_json(path, known | {"seconds": round(time.perf_counter() - start, 3)} | _used())
                if job:
                    kept.keep(results, job)

        return wrapped

    return decorate


def _known(stage: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a job before it runs; code may be edited while it does, so its digest belongs here."""
    environment()  # keeps the commit of this moment, for the same reason
    settings = {}
    if "settings" in options:
        of = {name: str(options[name]) for name in ("objective", "dataset") if options.get(name)}
        read = StageSettings.read(stage, options["settings"], **of)
        settings = read.model_dump(mode="json")
    seeds = {"run": settings.get("seed"), "draft": options.get("draft_seed", options.get("seed"))}
    known = {
        "format": FORMAT,
        "stage": stage,
        "code": code_digest(STAGES[stage].module),
        "options": {name: _plain(value) for name, value in options.items() if name not in ("settings", "threads")},
        "settings": settings,
        "seeds": {name: seed for name, seed in seeds.items() if seed is not None},
        "threads": options.get("threads", 1),
        "host": platform.node(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if "prepared" in options and (prepared := how_made(options["prepared"])):
        known["prepared"] = prepared["start"]
    log.debug("stage, settings and machine: %s", known | environment())
    return known


def _identity(known: Mapping[str, Any], options: Mapping[str, Any], results: Sequence[Path]) -> str:
    """What makes a job equal to another: all that is known of it but when and where it runs, and its inputs."""
    named = [value for value in options.values() if isinstance(value, Path)]
    lasting = {name: value for name, value in known.items() if name not in ("host", "slurm_job", "start")}
    return kept.identity(lasting | environment(), [path for path in named if path not in results])


def _used() -> dict[str, float]:
    """Of this process and those that it has waited for: CPU time of all, and memory of the largest."""
    times = os.times()
    cpu = times.user + times.system + times.children_user + times.children_system
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"cpu_seconds": round(cpu, 2), "memory_mb": round(most / 1024)}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, int | float) else masked(str(value))
