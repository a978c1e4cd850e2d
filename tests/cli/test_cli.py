"""Dispatch of `mm-fairseq`: what is imported, what is printed, which status comes back."""

import subprocess
import sys
import types

import pytest

import mm_fairseq
from mm_fairseq import cli
from mm_fairseq.errors import MMFairseqError


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of the subcommand `toy`."""

    def put(function):
        module = types.ModuleType("mm_fairseq.cli.toy", "Say something. Twice.")
        module.add_arguments = lambda parser: parser.add_argument("--loud", action="store_true")
        module.run = function
        monkeypatch.setitem(sys.modules, "mm_fairseq.cli.toy", module)

    return put


def raiser(error):
    def run(args):
        raise error

    return run


def test_runs_the_chosen_module_with_its_arguments(command):
    command(lambda args: 7 if args.loud else 8)
    assert (cli.main(["toy", "--loud"]), cli.main(["toy"])) == (7, 8)


def test_words_behind_two_dashes_are_handed_on_untouched(command, monkeypatch, capsys):
    seen = []
    command(lambda args: seen.append((args.loud, args.further)) or 0)
    monkeypatch.setattr(sys.modules["mm_fairseq.cli.toy"], "FURTHER", "arguments of another", raising=False)
    cli.main(["toy", "--loud", "--", "--lr", "-1", "--", "--help"])
    cli.main(["toy"])
    assert seen == [(True, ["--lr", "-1", "--", "--help"]), (False, [])]
    with pytest.raises(SystemExit):
        cli.main(["toy", "--help"])
    assert capsys.readouterr().out.startswith("usage: mm-fairseq toy [-h] [--loud] -- arguments of another\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MMFairseqError("row 3:\n no sound"), 2, "mm-fairseq toy: error: row 3: no sound\n"),
        (MMFairseqError("\x1b[31mred"), 2, "mm-fairseq toy: error: \\x1b[31mred\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 2, "mm-fairseq toy: error: a.wav: No such file"),
        (PermissionError(13, "Permission denied", "a.wav"), 2, "mm-fairseq toy: error: a.wav: Permission denied\n"),
        (KeyboardInterrupt(), 130, "\nmm-fairseq toy: interrupted; what is finished is kept"),
    ],
)
def test_faults_of_the_input_are_one_line(command, capsys, error, status, message):
    command(raiser(error))
    assert cli.main(["toy"]) == status
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("a bug without a file")])
def test_bugs_keep_their_traceback(command, error):
    command(raiser(error))
    with pytest.raises(type(error), match="a bug"):
        cli.main(["toy"])


def test_unknown_command_lists_what_is_allowed(capsys):
    assert cli.main(["prepar", "x"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "did you mean prepare?" in message
    assert all(name in message for name in cli.COMMANDS)


def test_help_lists_every_command(capsys):
    assert cli.main([]) == 0
    bare = capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == bare
    assert all(f"  {name} " in bare and text in bare for name, text in cli.COMMANDS.items())


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"mm-fairseq {mm_fairseq.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: mm-fairseq {name} ")


def test_module_runs_as_a_program():
    ran = subprocess.run([sys.executable, "-m", "mm_fairseq", "user-dir"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == mm_fairseq.__path__[0]
