"""Processes on several nodes meet where Slurm's variables say."""

import pytest

from specbeam.errors import SpecbeamError
from specbeam.rendezvous import Rendezvous, from_slurm, hosts

STEP = {
    "SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "node[01-03,07]",
    "SLURM_NODEID": "2", "SLURM_JOB_ID": "1234567",
}  # fmt: skip


def test_the_first_node_is_the_meeting_place_at_a_port_that_all_derive_from_the_job():
    assert from_slurm(STEP) == Rendezvous(machines=4, rank=2, address="node01", port=24567)
    assert {from_slurm({**STEP, "SLURM_NODEID": rank}).port for rank in "0123"} == {24567}


def test_one_node_or_no_slurm_needs_no_meeting():
    assert from_slurm({}) is None
    assert from_slurm({**STEP, "SLURM_STEP_NUM_NODES": "1"}) is None
    assert from_slurm({"SLURM_JOB_ID": "1", "SLURM_NNODES": "4"}) is None  # a batch script: nothing runs on the others


@pytest.mark.parametrize(
    ("nodelist", "names"),
    [
        ("localhost", ["localhost"]),
        ("node[01-03,07]", ["node01", "node02", "node03", "node07"]),
        ("gpu-a,gpu-b", ["gpu-a", "gpu-b"]),
        ("node[8-11]", ["node8", "node9", "node10", "node11"]),
        ("login,node[1-2],gpu[098-101]", ["login", "node1", "node2", "gpu098", "gpu099", "gpu100", "gpu101"]),
        ("rack[1-2]n[1,3]", ["rack1n1", "rack1n3", "rack2n1", "rack2n3"]),
        ("node[1-2].cluster.org", ["node1.cluster.org", "node2.cluster.org"]),
    ],
)
def test_lists_of_nodes_are_read_as_slurm_writes_them(nodelist, names):
    assert hosts(nodelist) == names


@pytest.mark.parametrize("nodelist", ["", "node[1-2", "node1]", "a,,b", "node[x]"])
def test_what_is_no_list_of_nodes_is_refused(nodelist):
    with pytest.raises(SpecbeamError, match=r"expected names as in node\[01-03,07\]"):
        hosts(nodelist)


@pytest.mark.parametrize("name", sorted(STEP.keys() - {"SLURM_STEP_NUM_NODES"}))
def test_a_missing_variable_is_named(name):
    with pytest.raises(SpecbeamError, match=f"expected the variable {name}"):
        from_slurm({key: value for key, value in STEP.items() if key != name})


def test_several_processes_a_node_are_refused_with_the_option_to_give():
    with pytest.raises(SpecbeamError, match=r"got 16 on 4 nodes: start it by `srun --ntasks-per-node=1`"):
        from_slurm({**STEP, "SLURM_STEP_NUM_TASKS": "16"})


def test_a_list_that_contradicts_the_number_of_nodes_is_refused():
    with pytest.raises(SpecbeamError, match="expected 4 nodes, got 2: a, b"):
        from_slurm({**STEP, "SLURM_STEP_NODELIST": "a,b"})
