"""Training in several processes: accelerate's launcher starts them, and each runs the verb that asked for them.

They share every batch (specbeam.training). Started by Slurm's srun on several nodes, each node's launcher starts its
part of them, and all meet (specbeam.rendezvous). A launch from outside, by `accelerate launch`, is found by its
environment and honoured.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from specbeam import gpus, parent, rendezvous
from specbeam.errors import SpecbeamError


def is_main() -> bool:
    """Whether this process is the one that writes: the first of a launch, the first node's launcher, the only one."""
    return rendezvous.number_in(os.environ, "RANK" if "RANK" in os.environ else "SLURM_NODEID", default=0) == 0


def run(stage: Callable[..., None], processes: int, *, settings: Any, threads: int, **options: Any) -> None:
    """Call `stage` with the options: in this process, or in `processes` of them that share the `threads` of this one.

    Inside a launch this process is one of its own: it takes its share of the machine, and only the main one logs
    progress. On several nodes `processes` are those of all nodes, and `threads` those of each. Raises SpecbeamError
    when there are more processes than GPUs to run on, or nodes cannot share them evenly; a launched process that fails
    says why itself, and ends the whole with exit code 1. The launched ones end with this process, however it ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _join(stage, settings=settings, threads=threads, **options)
    elif (meeting := rendezvous.from_slurm(os.environ)) or processes > 1:
        _start(processes, settings.device, threads, meeting or rendezvous.HERE)
    else:
        stage(settings=settings, threads=threads, **options)


def _start(processes: int, device: str, threads: int, meeting: rendezvous.Rendezvous) -> None:
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    here, uneven = divmod(processes, meeting.machines)
    if uneven:
        raise SpecbeamError(
            f"training.processes: expected a multiple of the {meeting.machines} nodes that srun started this on, got "
            f"{processes}; with GPUs, take as many as all nodes have"
        )
    if device != "cpu":
        gpus.claim(here)
    if _on_gpu(device) and here > torch.cuda.device_count():
        raise SpecbeamError(
            f"training.processes: expected at most one for each of the {torch.cuda.device_count()} GPU(s) here, got "
            f"{here}; lower it, or set device: cpu"
        )
    os.environ[parent.VARIABLE] = str(os.getpid())  # the launched processes end with this one
    if meeting.machines == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are all here: nothing is sent outside
    launch = ["--multi_gpu", f"--num_machines={meeting.machines}", f"--machine_rank={meeting.rank}"]
    launch += [f"--main_process_ip={meeting.address}", f"--main_process_port={meeting.port}"]
    launch += [f"--num_processes={processes}", f"--num_cpu_threads_per_process={max(1, threads // here)}"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no"]  # the first is the training's own affair
    try:
        launch_command(launch_command_parser().parse_args([*launch, "--module", "specbeam", *sys.argv[1:]]))
    except ChildFailedError:
        sys.exit(1)
    except SignalException as ended:
        sys.exit(128 + ended.sigval)


def _join(stage: Callable[..., None], *, settings: Any, threads: int, **options: Any) -> None:
    import torch

    if not is_main():
        logging.disable(logging.INFO)
    if _on_gpu(settings.device):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    stage(settings=settings, threads=max(1, threads // beside), **options)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _on_gpu(device: str) -> bool:
    from specbeam import models

    return models.choose_device(device).type == "cuda"
