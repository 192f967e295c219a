"""Where the processes of a training on several nodes meet, from the variables that Slurm's srun gives each of them."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from specbeam.errors import SpecbeamError

FIRST_PORT, PORTS = 20_000, 10_000
"""Ports that meetings are spread over: below those that Linux hands out by itself (32768 and up)."""


@dataclass(frozen=True)
class Rendezvous:
    """The machines of one training, and which of them this one is."""

    machines: int
    rank: int
    address: str
    """Of the machine of rank 0, which all others call."""
    port: int


HERE = Rendezvous(machines=1, rank=0, address="127.0.0.1", port=0)
"""A training on this machine alone, at any free port."""


def from_slurm(environment: Mapping[str, str]) -> Rendezvous | None:
    """The meeting that a step of Slurm over several nodes implies (`srun --nodes=2 --ntasks-per-node=1 ...`).

    None outside of Slurm, and where the step has one node. Raises SpecbeamError when srun started other than one
    process a node, or a variable is missing or contradicts another.
    """
    if int(environment.get("SLURM_STEP_NUM_NODES", "1")) == 1:
        return None

    def variable(name: str) -> str:
        if not environment.get(name):
            raise SpecbeamError(
                f"training on several nodes: expected the variable {name}, which srun sets; start the training by "
                "`srun --ntasks-per-node=1 specbeam ...`, and let nothing on the way remove Slurm's variables"
            )
        return environment[name]

    machines, tasks = int(variable("SLURM_STEP_NUM_NODES")), int(variable("SLURM_STEP_NUM_TASKS"))
    nodes = hosts(variable("SLURM_STEP_NODELIST"))
    if tasks != machines:
        raise SpecbeamError(
            f"training on several nodes: expected one process a node, got {tasks} on {machines} nodes: start it by "
            "`srun --ntasks-per-node=1`; training.processes says how many there will be in all"
        )
    if len(nodes) != machines:
        raise SpecbeamError(f"SLURM_STEP_NODELIST: expected {machines} nodes, got {len(nodes)}: {', '.join(nodes)}")
    port = FIRST_PORT + int(variable("SLURM_JOB_ID")) % PORTS  # all know it, and few others on the node have it
    return Rendezvous(machines, int(variable("SLURM_NODEID")), nodes[0], port)


def hosts(nodelist: str) -> list[str]:
    """Names in Slurm's list of nodes, in order: `node[01-03,07],login` is node01, node02, node03, node07 and login.

    Raises SpecbeamError for what is no such list.
    """
    parts = re.findall(r"(?:[^,\[\]]|\[[\d,-]+\])+", nodelist)
    if ",".join(parts) != nodelist or not parts:
        raise SpecbeamError(f"list of nodes: expected names as in node[01-03,07],login, got {nodelist!r}")
    names = []
    for part in parts:
        pieces = re.split(r"\[([\d,-]+)\]", part)
        choices = [_numbers(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
        names += ["".join(chosen) for chosen in itertools.product(*choices)]
    return names


def _numbers(ranges: str) -> list[str]:
    """`01-03,07` as 01, 02, 03, 07."""
    found = []
    for each in ranges.split(","):
        first, _, last = each.partition("-")
        found += [f"{number:0{len(first)}d}" for number in range(int(first), int(last or first) + 1)]
    return found
