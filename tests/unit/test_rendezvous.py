"""Processes on several nodes meet where Slurm's variables say."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import cases, read
from specbeam import launch
from specbeam.errors import SpecbeamError
from specbeam.rendezvous import MOST, Rendezvous, from_slurm, hosts

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


@pytest.mark.parametrize(
    "nodelist",
    [
        *("", "node[1-2", "node1]", "a,,b", "node[x]", "node[-]", "node[]", "node[1-]", "node[3-1-2]", "node[5-3]"),
        *("node[1-999999999]", "rack[1-999]n[1-999]", f"n[{'1-65536,' * 3}1]", "x" * 100_000 + "[", "n[\u0661]"),
    ],
)
def test_what_is_no_list_of_nodes_is_refused(nodelist):
    with pytest.raises(SpecbeamError, match=r"expected names as in node\[01-03,07\]") as caught:
        hosts(nodelist)
    assert len(str(caught.value)) < 400


ranges = st.lists(st.integers(0, 99).flatmap(lambda low: st.tuples(st.just(low), st.integers(low, 99))), min_size=1)
pieces = st.lists(st.sampled_from(["node", "-", "7", ".org"]) | ranges.filter(lambda some: len(some) < 3), max_size=3)


@cases(200)
@given(parts=st.lists(pieces, min_size=1, max_size=3))
def test_a_list_of_nodes_names_those_that_it_was_written_from(parts):
    parts = [["a", *part] for part in parts]
    written = ["".join(p if isinstance(p, str) else f"[{','.join(f'{a:02}-{b:02}' for a, b in p)}]" for p in part)
               for part in parts]  # fmt: skip
    choices = [
        [[p] if isinstance(p, str) else [f"{number:02}" for a, b in p for number in range(a, b + 1)] for p in part]
        for part in parts
    ]
    expected = ["".join(chosen) for choice in choices for chosen in itertools.product(*choice)]
    found = read("lists of nodes", lambda: hosts(",".join(written)))
    assert found == expected if len(expected) <= MOST else found is None


@cases(300)
@given(
    variables=st.dictionaries(
        st.sampled_from(sorted(STEP)),
        st.sampled_from(["", "0", "1", "-1", "9" * 30, "x", "2.0", "\u0663", "b" * 9000])
        | st.text(st.sampled_from("node[]-,0123"), max_size=12),
    )
)
def test_any_variables_of_slurm(variables):
    found = read("variables of Slurm", lambda: from_slurm(STEP | variables))
    assert found is None or (found.rank < found.machines and 20_000 <= found.port < 30_000)


def test_a_rank_that_is_no_number_is_named_where_the_first_process_is_looked_for(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("SLURM_NODEID", "first")
    with pytest.raises(SpecbeamError, match="SLURM_NODEID: expected a number, as Slurm sets it, got 'first'"):
        launch.is_main()


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
