"""A copy of the checkout that tests may run, edit and kill, and Snakemake as a user calls it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from specbeam.interactions.shop import generate_shop

ROOT = Path(__file__).parents[1]
SMALL, SMALL_RUN, EVERYTHING = "small", Path("results/small"), ("all", "ablations")
"""Of the checkout `small`: its config, the folder of its run, and the targets that every stage is needed for."""
PARTS = ("Snakefile", "environment.yml", "pyproject.toml", "config", "src", "workflow", "profiles")


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository, with its own results."""

    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's environment, with the copy's code first; the mirror only if the test names one."""
        inherited = {name: value for name, value in os.environ.items() if name != "SPECBEAM_MIRROR"}
        return {**inherited, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1", **variables}

    def command(self, *arguments: str, config: str = "smoke") -> list[str]:
        """Snakemake's command line for one of the configs; `arguments` come first, so that they may be targets."""
        configured = ["--configfile", f"config/{config}.yaml"]
        return [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", *configured, "--nocolor"]

    def snakemake(self, *arguments: str, config: str = "smoke", **variables: str) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; stdout holds all that the user would see."""
        return subprocess.run(
            self.command(*arguments, config=config),
            cwd=self.folder,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )

    def planned(self, *arguments: str, config: str = "smoke") -> dict[str, int]:
        """What a dry run would do: rule -> number of jobs; targets by name are left out."""
        dry = self.snakemake(*arguments, "--dry-run", "--quiet", "host", config=config)
        assert dry.returncode == 0, dry.stdout
        table = dry.stdout.partition("Job stats:")[2].partition("total")[0]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}
        assert jobs or "Nothing to be done" in dry.stdout, dry.stdout
        return {rule: count for rule, count in jobs.items() if "_" in rule and rule not in ("atspeed_s", "atspeed_r")}

    def edit(self, file: str, old: str, new: str) -> "Edit":
        """Replace text in one file for the length of a `with` block."""
        return Edit(self.folder / file, old, new)


@dataclass
class Edit:
    """One edit, taken back with the file's times at the end."""

    path: Path
    old: str
    new: str

    def __enter__(self) -> None:
        """Make the edit."""
        self.before, self.times = self.path.read_text(), self.path.stat()
        assert self.old in self.before, f"{self.old!r} is not in {self.path}"
        self.path.write_text(self.before.replace(self.old, self.new, 1))

    def __exit__(self, *_: object) -> None:
        """Take it back."""
        self.path.write_text(self.before)
        os.utime(self.path, ns=(self.times.st_atime_ns, self.times.st_mtime_ns))


def copied(folder: Path) -> Checkout:
    """Copy what a run needs; links stay links."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        source, destination = ROOT / part, folder / part
        if source.is_symlink():
            destination.symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, destination, ignore=unwanted)
        else:
            shutil.copy2(source, destination)
    return Checkout(folder)


def small(folder: Path, *, datasets: tuple[str, ...] = ("synthetic", "my_shop")) -> Checkout:
    """A copy with a config that runs every stage, smaller than `smoke`, with a checkpoint after every batch.

    my_shop is the one of config/my-shop.yaml, with fewer customers.
    """
    place = copied(folder)
    smoke, own = (yaml.safe_load((folder / f"config/{name}.yaml").read_text()) for name in ("smoke", "my-shop"))
    generate_shop(folder / "shop", customers=300, items=100, seed=1)
    values = {**smoke, "run": SMALL, "datasets": [*datasets], "own_data": own["own_data"]}
    values["alignment"]["objectives"] = {"atspeed_s": {}}
    values["measurement"]["beam_widths"] = [5]
    values["trajectories"]["shards"] = 1
    for model in ("target", "draft", "alignment"):
        values[model]["training"]["checkpoint_minutes"] = 0
    (folder / f"config/{SMALL}.yaml").write_text(yaml.safe_dump(values))
    return place
