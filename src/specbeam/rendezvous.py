"""Where the processes of a training on several nodes meet, from the variables that Slurm's srun gives each of them."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from specbeam.errors import SpecbeamError, brief

FIRST_PORT, PORTS = 20_000, 10_000
"""Ports that meetings are spread over: below those that Linux hands out by itself (32768 and up)."""
MOST = 65_536
"""Nodes of a list: Slurm has fewer."""
RANGE = "[0-9]{1,9}(?:-[0-9]{1,9})?"


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
    if number_in(environment, "SLURM_STEP_NUM_NODES", default=1) == 1:
        return None
    machines, tasks, rank, job = (
        number_in(environment, name)
        for name in ("SLURM_STEP_NUM_NODES", "SLURM_STEP_NUM_TASKS", "SLURM_NODEID", "SLURM_JOB_ID")
    )
    nodes = hosts(_variable(environment, "SLURM_STEP_NODELIST"))
    if tasks != machines:
        raise SpecbeamError(
            f"training on several nodes: expected one process a node, got {tasks} on {machines} nodes: start it by "
            "`srun --ntasks-per-node=1`; training.processes says how many there will be in all"
        )
    if len(nodes) != machines:
        shown = brief(", ".join(nodes))
        raise SpecbeamError(f"SLURM_STEP_NODELIST: expected {machines} nodes, got {len(nodes)}: {shown}")
    if rank >= machines:
        raise SpecbeamError(f"SLURM_NODEID: expected one of the nodes 0 to {machines - 1}, got {rank}")
    port = FIRST_PORT + job % PORTS  # all know it, and few others on the node have it
    return Rendezvous(machines, rank, nodes[0], port)


def number_in(environment: Mapping[str, str], name: str, *, default: int | None = None) -> int:
    """The number that the variable `name` is; SpecbeamError if it is none, or missing without a default."""
    if default is not None and name not in environment:
        return default
    text = _variable(environment, name)
    if not re.fullmatch("[0-9]{1,18}", text):
        raise SpecbeamError(f"{name}: expected a number, as Slurm sets it, got {text!r:.200}; unset it, or use srun")
    return int(text)


def _variable(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise SpecbeamError(
            f"training on several nodes: expected the variable {name}, which srun sets; start the training by "
            "`srun --ntasks-per-node=1 specbeam ...`, and let nothing on the way remove Slurm's variables"
        )
    return environment[name]


def hosts(nodelist: str) -> list[str]:
    """Names in Slurm's list of nodes, in order: `node[01-03,07],login` is node01, node02, node03, node07 and login.

    Raises SpecbeamError for what is no such list.
    """
    expected = f"list of nodes: expected names as in node[01-03,07],login, got {nodelist!r:.200}"
    parts = re.findall(rf"(?:[^,\[\]]|\[{RANGE}(?:,{RANGE})*\])+", nodelist)
    if ",".join(parts) != nodelist or not parts:
        raise SpecbeamError(expected)
    names: list[str] = []
    for part in parts:
        pieces = re.split(r"\[([\d,-]+)\]", part)
        choices = [_numbers(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
        if not 0 < math.prod(map(len, choices)) <= MOST - len(names):
            raise SpecbeamError(f"{expected}: no node, or more than {MOST:,}")
        names += ["".join(chosen) for chosen in itertools.product(*choices)]
    return names


def _numbers(ranges: str) -> list[str]:
    """`01-03,07` as 01, 02, 03, 07; of too many none."""
    found: list[str] = []
    for each in ranges.split(","):
        first, _, last = each.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if len(found) + len(numbers) > MOST:
            return []
        found += [f"{number:0{len(first)}d}" for number in numbers]
    return found
