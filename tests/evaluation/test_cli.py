import json

import pytest

from atoll.__main__ import main


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


def test_report_command_prints_the_path_alone(atoll, evaluated):
    code, out, _ = atoll("report")
    assert code == 0
    assert out.strip() == f"{evaluated.config.run.uri}/report.html"
    _, out, _ = atoll("report", "--json")
    assert json.loads(out)["report"].endswith("report.html")
