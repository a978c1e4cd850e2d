"""The doctor: its trials pass here, and a broken library is named with its remedy."""

import sys

import pytest

from mm_fairseq.cli import doctor, main

CHECKS = {check.name: check for check in doctor.CHECKS}


@pytest.mark.parametrize("name", [check.name for check in doctor.CHECKS if check.required])
def test_required_things_work_here(name):
    problem, seen = doctor.attempt(CHECKS[name])
    assert problem is None, seen


PACKAGES = {
    "Hugging Face folders": "transformers",
    "openSMILE features": "opensmile",
    "frames and Parquet": "pyarrow",
    "labels in HDF5 (h5py)": "h5py",
    "jobs of SLURM (submitit)": "submitit",
    "tasks of Ray": "ray",
}


@pytest.mark.parametrize("name", PACKAGES)
def test_extras_are_tried(name, monkeypatch):
    assert not CHECKS[name].required
    if PACKAGES[name] != "ray":  # which takes its time to start, and is tried by tests/cli/test_engines.py
        assert doctor.attempt(CHECKS[name])[0] is None
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    problem, _ = doctor.attempt(CHECKS[name])
    assert doctor.mend(CHECKS[name], problem).startswith("pip install 'mm-fairseq[")


def fail(monkeypatch, name, error):
    def trial():
        raise error

    broken = [check._replace(trial=trial) if check.name == name else check for check in doctor.CHECKS[:3]]
    monkeypatch.setattr(doctor, "CHECKS", tuple(broken))


def test_mismatched_torchaudio_is_told_with_the_matched_set(monkeypatch, capsys):
    name = "audio features (torchaudio)"
    fail(monkeypatch, name, OSError("libcudart.so.13: cannot open shared object file"))
    versions = {"torch": "2.11.0+cpu", "torchaudio": "2.11.0", "torchvision": "0.26.0"}
    monkeypatch.setattr(doctor, "version_of", versions.get)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "OSError: libcudart.so.13" in " ".join(out.split())
    assert "torch 2.11.0+cpu, torchaudio 2.11.0" in out
    assert f"pip install --force-reinstall {doctor.MATCHED}" in out
    assert "1 required thing is broken" in out


def test_missing_torchaudio_is_told_to_be_installed(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", {"torch": "2.11.0"}.get)
    remedy = doctor.mend(CHECKS["audio features (torchaudio)"], ModuleNotFoundError("No module named 'torchaudio'"))
    assert remedy == f"pip install {doctor.MATCHED}"


def test_optional_things_do_not_fail(monkeypatch, capsys):
    absent = doctor.Check("wings", lambda: 1 / 0, "grow some", required=False)
    monkeypatch.setattr(doctor, "CHECKS", (absent,))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "wings (optional): grow some" in out
    assert "all well" in out
