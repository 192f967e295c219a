"""Spaces, quotes and commands in paths and settings stay what they are: text; and secrets of a config stay in it."""

import json
import re
import shlex

import pytest

from checkouts import copied
from specbeam.settings import Settings
from specbeam.stages import stage_values

ODD = """it's a "folder" $(touch owned) `touch owned`; touch owned & {run} *"""
SECRET = "SoVerySecret1234567890"


def test_settings_reach_each_command_as_one_word_whatever_is_in_them(checkout):
    values = {"run": "odd", "target": {"model": {"base": ODD, "revision": 40 * "0"}}}
    (checkout.folder / "config/odd.yaml").write_text(json.dumps(values))
    run = checkout.snakemake("--dry-run", "--printshellcmds", config="odd")
    assert run.returncode == 0, run.stdout
    commands = re.findall(r"^Shell command: (specbeam .*)$", run.stdout, flags=re.MULTILINE)
    assert len({command.split()[1] for command in commands}) >= 10
    passed = {}
    for verb, *words in (shlex.split(command)[1:] for command in commands):
        assert words[-3] == ">", words  # the log is one word, then 2>&1
        if "--settings" in words:
            passed[verb] = json.loads(words[words.index("--settings") + 1])
    assert passed["prepare"]["target"]["model"]["base"] == ODD
    assert passed["prepare"].keys() == stage_values(Settings(), "prepare").keys()


@pytest.mark.slow
def test_a_checkout_and_a_mirror_may_be_anywhere(tmp_path, mirror):
    folder = tmp_path / ODD.replace("{run} ", "")  # braces are Snakemake's own
    folder.mkdir()
    checkout = copied(folder)
    link = folder / f"mirror of {folder.name}"
    link.symlink_to(mirror)
    run = checkout.snakemake("prepare", config="beauty-small", SPECBEAM_MIRROR=str(link))
    assert run.returncode == 0, run.stdout
    assert (folder / "results/beauty-small/beauty/prepared/users.parquet").exists()
    assert not list(tmp_path.rglob("owned"))


def test_the_login_of_a_mirror_stays_in_its_config(checkout):
    with (checkout.folder / "config/beauty-small.yaml").open("a") as config:
        config.write(f"\nsource: {{mirror: 'http://me:{SECRET}@127.0.0.1:port/data?signature={SECRET}'}}\n")
    run = checkout.snakemake("download", config="beauty-small")
    assert run.returncode == 1
    assert "cannot be fetched" in run.stdout
    assert SECRET not in run.stdout
    holding = [path for path in checkout.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding == [checkout.folder / "config/beauty-small.yaml"]
