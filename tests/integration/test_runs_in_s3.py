"""A run whose results lie in a bucket: real processes, and a real server of S3."""

import shutil

import pytest

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def run(make_run, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what is not in the bucket is below the working directory
    return make_run(f"{bucket}/some/run")


def test_run_in_a_bucket_goes_on_from_it_and_needs_nothing_else(run, until, undisturbed, tmp_path):
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 20)
    run.agent_of("expert-0").kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    run.wait_for_its_end()

    assert [path.name for path in tmp_path.iterdir()] == [".atoll"]
    kept = b"".join(path.read_bytes() for path in run.folder().rglob("*") if path.is_file())
    assert b"serving" in kept
    assert b"never-shown" not in kept  # the secret key

    shutil.rmtree(tmp_path / ".atoll")
    assert "already trained: expert-0, expert-1" in run.finish(run.launch())
