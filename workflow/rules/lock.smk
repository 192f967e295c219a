# One run of Snakemake at a time on one results folder. Snakemake's own lock outlives a `kill -9` and must then be removed
# by hand; the kernel drops this one with the process, whatever ends it.

import fcntl
from pathlib import Path

import yaml

from specbeam import kept, submitted
from specbeam.files import remove, replacing, writing
from specbeam.masking import masked
from snakemake.logging import logger


def lock(folder):
    """Take the lock and keep it while this process lives; then clear what killed jobs left, which nobody writes now."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = (folder / ".lock").open("w")  # never closed
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpecbeamError(f"{folder}: another snakemake is running there; wait for it, or give this run another name")
    workflow.globals["lock_handle"] = handle
    if left := submitted.end(folder):
        logger.warning(f"{folder}: an earlier snakemake was killed; its jobs on Slurm are cancelled: {' '.join(left)}")
    for part in sorted(folder.rglob(".*.part")):
        remove(part)
    with replacing(folder / "config.yaml") as resolved:
        resolved.write_text(masked(yaml.safe_dump(settings.plain, sort_keys=False)))


onstart:
    if workflow.is_main_process:
        try:
            with writing(RESULTS):
                lock(Path(RESULTS))
                if workflow.executor_plugin.name == "slurm":
                    submitted.note(Path(RESULTS), workflow.scheduler._executor.run_uuid)
        except SpecbeamError as error:
            raise WorkflowError(str(error)) from None


onsuccess:
    submitted.forget(Path(RESULTS))
    kept.forget(Path(RESULTS))
