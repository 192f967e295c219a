"""A real Slurm of two nodes on loopback: its daemons run from a folder and stop with the tests.

Partitions `cpu` and `gpu` have the first node, `pair` has both.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

NODES = ("127.0.0.1", "127.0.0.2")  # names that lead here
DAEMONS = ("munged", "slurmctld", "slurmd", "squeue")
CONFIGURATION = """
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
# A job over its memory is ended without cgroups too, by what is seen of it every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.log
MinJobAge=3600
KillWait=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=DEFAULT CPUs=8 RealMemory=64000 Gres=gpu:fake:2 State=UNKNOWN
NodeName=127.0.0.[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]}
PartitionName=DEFAULT Nodes=127.0.0.1 MaxTime=600 DefMemPerCPU=100 State=UP
PartitionName=cpu Default=YES
PartitionName=gpu
PartitionName=pair Nodes=ALL
"""
GPUS = "Name=gpu Type=fake File=/dev/null\nName=gpu Type=fake File=/dev/zero\n"
# The job step plugin drops every SLURM_* variable before its own srun, SLURM_CONF too.
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'
# The plugin asks for states ever more seldom, which only costs time here.
POLLING = """
import sys

if "snakemake" in sys.orig_argv and "slurm" in " ".join(sys.orig_argv):
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
"""


class Cluster:
    """The running cluster. A context: leaving it cancels all jobs and ends the daemons that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = ExitStack()

    def __enter__(self) -> "Cluster":
        """Write the configuration, start the daemons and wait for the nodes."""
        for name in ("state", "bin", "python"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        configuration = CONFIGURATION.format(folder=self.folder, user=user, ports=_free_ports(3))
        (self.folder / "slurm.conf").write_text(configuration)
        (self.folder / "gres.conf").write_text(GPUS)
        (self.folder / "python/sitecustomize.py").write_text(POLLING)
        shim = self.folder / "bin/srun"
        shim.write_text(SRUN.format(folder=self.folder, srun=shutil.which("srun")))
        shim.chmod(0o755)
        with ExitStack() as starting:
            starting.callback(self._running.close)
            munge = [
                f"--{name}={self.folder}/munge.{name.partition('-')[0]}"
                for name in ("pid-file", "log-file", "seed-file")
            ]
            self._start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.sock", f"--key-file={key}",
                        "--origin=127.0.0.1", *munge)  # fmt: skip
            wait(lambda: (self.folder / "munge.sock").exists(), seconds=180)
            self._start("slurmctld", "-D", "-i")
            for node in NODES:
                self._start("slurmd", "-D", "-N", node)
            states = ("sinfo", "--noheader", "--format=%T")
            wait(lambda: set(self.ask(*states, check=False).split()) == {"idle"}, seconds=180)
            starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what runs, then end the daemons."""
        self.ask("scancel", f"--user={os.getuid()}", check=False)
        try:
            wait(lambda: not self.ask("squeue", "--noheader", check=False), seconds=30)
        finally:
            self._running.close()

    def environment(self, **variables: str) -> dict[str, str]:
        """Variables by which Slurm's commands find this cluster."""
        path = f"{self.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return {**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": path, **variables}

    def ask(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands to its end; what it prints."""
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """Slurm's records of all jobs submitted from a folder, first to last."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        records = [dict(re.findall(r"([\w/:]+)=(\S*)", line)) for line in lines]
        return [record for record in records if record.get("WorkDir") == str(folder)]

    def _start(self, daemon: str, *arguments: str) -> None:
        with (self.folder / f"{daemon}.out").open("a") as output:
            process = subprocess.Popen(
                [shutil.which(daemon, path=self.environment()["PATH"]), *arguments],
                env=self.environment(), stdout=output, stderr=output,
            )  # fmt: skip
        self._running.callback(_stop, process)


def missing() -> list[str]:
    """Programs of Slurm and munge that this machine lacks."""
    return [name for name in DAEMONS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]


def wait(condition: Callable[[], object], *, seconds: float) -> None:
    """Until the condition holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        taken = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
