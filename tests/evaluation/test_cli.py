import json

import pytest

from atoll.__main__ import main
from atoll.command import show
from evaluation.cli import _short


@pytest.fixture
def atoll(capsys, evaluated):
    """Runs a command on the evaluated run; returns what it printed and said."""

    def call(command, *flags):
        tree = evaluated.config.model_dump(mode="json")
        sets = [
            flag
            for section in (
                "run",
                "partition",
                "expert",
                "training",
                "router",
                "sampling",
                "evaluation",
            )
            for key, value in tree[section].items()
            for flag in ("--set", f"{section}.{key}={json.dumps(value)}")
            if value is not None
        ]
        with pytest.raises(SystemExit) as ended:
            main([command, *sets, *flags])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


def test_evaluate_command_finds_what_is_done_and_prints_rows(atoll):
    code, out, err = atoll("evaluate", "--json")
    assert code == 0
    assert [row["strategy"] for row in json.loads(out)][:2] == ["real", "monolith"]
    assert "already evaluated" in err


def test_evaluate_command_shows_a_table(atoll):
    _, out, _ = atoll("evaluate")
    assert "top-2" in out
    assert "90 images each against 1,797 real ones" in out


def test_table_of_rows_keeps_long_names_whole_on_a_narrow_terminal(row, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["real", "monolith", "threshold-0.25", "nucleus-0.95"]
    rows = [row(name, 1318.2, 0.000523) for name in names]
    for each in rows:
        each["scores"] |= dict.fromkeys(("precision", "recall", "density", "coverage"), 0.125)
    show("rows", [_short(each) for each in rows], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-5:-1]] == names
    assert all(line.split()[-2:] == ["0.000523", "1"] for line in lines[-5:-1])


def test_evaluate_command_refuses_a_strategy_named_twice(atoll):
    twice = 'evaluation.strategies=["full", "top-1", "full"]'
    code, _, err = atoll("evaluate", "--set", twice)
    assert code == 2
    assert 'evaluation.strategies: "full" stands here twice; name each strategy once' in err


def test_report_command_says_when_nothing_has_changed(atoll):
    atoll("report")
    _, _, err = atoll("report")
    assert "already written: nothing has changed since" in err


def test_report_command_prints_the_path_alone(atoll, evaluated):
    code, out, _ = atoll("report")
    assert code == 0
    assert out.strip() == f"{evaluated.config.run.uri}/report.html"
    _, out, _ = atoll("report", "--json")
    assert json.loads(out)["report"].endswith("report.html")
