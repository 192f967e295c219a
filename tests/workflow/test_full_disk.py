"""A whole run on a disk that fills up, again and again; when there is room, one plain call ends like any other run.

    SPECBEAM_FULL_DISK=1 pytest tests/workflow/test_full_disk.py

needs the right to mount, and some minutes. tests/unit/test_faults.py fills disks at every change, a writer at a time.
"""

import os
import subprocess
from pathlib import Path

import pytest

from checkouts import EVERYTHING, SMALL, SMALL_RUN, small
from mounts import mounted, resize
from same_results import assert_same, differing

SHARES = (0.05, 0.4, 0.8)
"""Room for these shares of what a run writes, one after the other."""


@pytest.mark.skipif(not os.environ.get("SPECBEAM_FULL_DISK"), reason="takes minutes: set SPECBEAM_FULL_DISK=1")
def test_a_run_on_a_disk_that_fills_up_stops_with_a_message_and_ends_like_another_when_there_is_room(
    undisturbed, tmp_path
):
    whole = undisturbed.folder / SMALL_RUN
    with mounted(tmp_path / "disk", "size=1g") as disk:
        place = small(disk)
        empty, full = _used(disk), _used(undisturbed.folder)
        for share in SHARES:
            resize(disk, round(empty + share * (full - empty)))
            stopped = place.snakemake(*EVERYTHING, config=SMALL)
            assert stopped.returncode != 0, f"{share}: there was room for all"
            assert "No space left on device" in stopped.stdout, stopped.stdout
            assert differing(whole, disk / SMALL_RUN) == set(), share
        resize(disk, 1 << 30)
        done = place.snakemake(*EVERYTHING, config=SMALL)
        assert done.returncode == 0, done.stdout
        assert place.planned(*EVERYTHING, config=SMALL) == {}
        assert_same(whole, disk / SMALL_RUN)


def _used(folder: Path) -> int:
    """Bytes on the disk, in whole pages."""
    return int(subprocess.run(["du", "-sB1", folder], capture_output=True, text=True, check=True).stdout.split()[0])
