"""examples/quickstart.ipynb does what it says, from nothing; what is kept of its output says nothing of a machine."""

import re
import sys
from pathlib import Path

import pytest
from commands import EXAMPLES

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = EXAMPLES / "quickstart.ipynb"
CELLS = 10
MACHINE = r"/(home|work|root|tmp|usr|opt|Users|mnt)/|site-packages|\b\d{1,3}(\.\d{1,3}){3}\b"
RIGHT = 0.6  # of the toy corpus; always saying one class: 0.5


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def told(cell):
    """All text that a cell printed or gave."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(parts)


def pictures(cell):
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


def check(notebook):
    """What the cells must have said."""
    toy, prepared, binarized, trained, validated, answered, again, explained, saved = code_of(notebook)[1:]
    assert "96 utterances" in told(toy)
    assert "meld: 96 utterances" in told(prepared)
    assert "96 ok, 0 repaired, 0 quarantined" in told(binarized)
    assert "loss" in told(trained)
    assert float(re.search(r'"wa": ([\d.]+)', told(validated))[1]) >= RIGHT
    assert told(answered).count("'score'") == 3
    assert "as an array: True" in told(again)
    assert "'score'" in told(again).partition("sound alone")[2]
    assert pictures(explained)
    assert "['config.json', 'model.safetensors']" in told(saved)
    assert "the same answer: True" in told(saved)


def test_what_is_kept_of_it():
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    assert len(code_of(notebook)) <= CELLS
    assert NOTEBOOK.stat().st_size < 300_000
    check(notebook)
    for cell in code_of(notebook):
        assert not re.search(MACHINE, cell.source + told(cell))
        assert not [output for output in cell.outputs if output.output_type == "error"]


@pytest.mark.timeout(3000)  # where other work goes on; a minute on a quiet machine
def test_it_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, 4)
    for cell in code_of(notebook):
        cell.outputs = []
    client = nbclient.NotebookClient(
        notebook,
        timeout=2800,
        startup_timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.create_kernel_manager()
    assert Path(client.km.kernel_spec.argv[0]).name in ("python", "python3", Path(sys.executable).name)
    client.execute()
    check(notebook)
    assert (tmp_path / "quickstart" / "explanation.png").stat().st_size > 10_000
