"""Training in several processes: accelerate's launcher starts them, and each runs the verb that asked for them.

They share every batch (specbeam.training). A launch from outside - `accelerate launch` over the nodes of a cluster - is
found by its environment and honoured.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from specbeam import parent
from specbeam.errors import SpecbeamError


def is_main() -> bool:
    """Whether this process is the one that writes: the first of a launch, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def run(stage: Callable[..., None], processes: int, *, settings: Any, threads: int, **options: Any) -> None:
    """Call `stage` with the options: in this process, or in `processes` of them that share the `threads` of this one.

    Inside a launch this process is one of its own: it takes its share of the machine, and only the main one logs
    progress. Raises SpecbeamError when there are more processes than GPUs to run on; a launched process that fails says
    why itself, and ends the whole with exit code 1. The launched ones end with this process, however it ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _join(stage, settings=settings, threads=threads, **options)
    elif processes > 1:
        _start(processes, settings.device, threads)
    else:
        stage(settings=settings, threads=threads, **options)


def _start(processes: int, device: str, threads: int) -> None:
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if _on_gpu(device) and processes > torch.cuda.device_count():
        raise SpecbeamError(
            f"training.processes: expected at most one for each of the {torch.cuda.device_count()} GPU(s) here, got "
            f"{processes}; lower it, or set device: cpu"
        )
    os.environ[parent.VARIABLE] = str(os.getpid())  # the launched processes end with this one
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are all here: nothing is sent outside
    launch = ["--multi_gpu", "--num_machines=1", f"--num_processes={processes}", "--main_process_port=0"]
    launch += [f"--num_cpu_threads_per_process={max(1, threads // processes)}"]
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
