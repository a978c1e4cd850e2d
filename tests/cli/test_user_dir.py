"""The printed folder is what fairseq can import as --user-dir."""

from pathlib import Path

from mm_fairseq.cli import main


def test_prints_the_package_folder(capsys):
    assert main(["user-dir"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "__init__.py").is_file()
    assert folder.name == "mm_fairseq"
