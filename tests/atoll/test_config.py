"""The configuration file: what it accepts, and how it refuses."""

import re
import tomllib
from pathlib import Path

import pytest

from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import commented, parse_config, read_config, run_config, save_config
from atoll.errors import ConfigError


def test_commented_defaults_round_trip() -> None:
    assert parse_config(tomllib.loads(commented(Config())), "text") == Config()


def test_commented_tables_with_keys_of_any_kind_round_trip() -> None:
    selector = '{"cloud.google.com/gke-spot" = "true", zone = "a"}'
    tolerations = '[{key = "nvidia.com/gpu"}]'
    config = read_config(
        None,
        [
            "island.provider={ local = 1, ssh = 3 }",
            f"kubernetes.node_selector={selector}",
            f"kubernetes.tolerations={tolerations}",
        ],
    )
    assert parse_config(tomllib.loads(commented(config)), "text") == config


def test_commented_explains_every_key() -> None:
    lines = [line for line in commented(Config()).splitlines() if "=" in line]
    assert all("#" in line.lstrip("# ") for line in lines)
    assert not any("None" in line for line in lines)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.stps=3", ["training.stps", "did you mean training.steps"]),
        ("traning.steps=3", ["traning", "did you mean training"]),
        ("training.steps=many", ["training.steps", "integer", "'many'"]),
        ("training.steps=0", ["training.steps", "greater than or equal to 1"]),
        ("partition.num_experts=100", ["num_fine = 64", "num_experts = 100"]),
        ("training.batch_size=2", ["training.batch_size = 2", "num_experts = 4"]),
        (
            "training.objectives=['v', 'v', 'v', 'velocity', 'v']",
            ["training.objectives names 5", "num_experts = 4"],
        ),
        ("expert.heads=5", ["heads = 5", "width = 64"]),
        (
            "serving.experts=['192.0.2.8:8210']",
            ["experts: 192.0.2.8:8210 is on another machine", "set serving.experts_tls"],
        ),
        (
            "serving.experts=['orchestrater']",
            ["'orchestrater' is neither an address", "nor one of dht, orchestrator"],
        ),
        ("partition.features=vit", ['partition.features: must be "pca" or {', "(got 'vit')"]),
        ("sampling.strategy=best", ["sampling.strategy", "'best'", "full", "top-"]),
        ("sampling.strategy=top-9", ["sampling.strategy", '"top-9"', "num_experts = 4"]),
        (
            "evaluation.strategies=['top-5']",
            ["evaluation.strategies", '"top-5"', "num_experts = 4"],
        ),
        ("expert.condition=text", ['"text"', "digits have no captions"]),
        ("orchestrator.listen=127.0.0.1:http", ["orchestrator.listen", "host:port"]),
        ("orchestrator.listen=0.0.0.0:0", ["orchestrator.listen", "127.0.0.1"]),
        ("expert.preset=DiT-H/2", ['"DiT-H/2" is not known', "DiT-S/2"]),
        ("partition.features={hub='x'}", ["partition.features"]),
        ("training.ema_lengths=[0.1, 0.3]", ["training.ema_lengths", "0.28"]),
        ("training.ema_lengths=[0.1, 0.1]", ["training.ema_lengths", "twice", "0.1"]),
        ("training.ema_lengths=[]", ["training.ema_lengths", "at least 1"]),
        ("sampling.ema_length=0.1", ["sampling.ema_length = 0.1", "ema_profile", "power"]),
        ("training.schedule=refined", ["training.schedule", "refined_from", "uri"]),
        ("training.refined_from=runs/a", ["training.refined_from", '"constant"', "leave"]),
        ("training.learning_rate=inf", ["training.learning_rate", "finite"]),
        ("run.seed=4294967296", ["run.seed", "less than 4294967296"]),
        ("budget.cost=5", ["budget.cost = 5", "island.price_per_hour"]),
        ("budget.cost=-1", ["budget.cost", "greater than or equal to 0"]),
        ("budget.deadline=soon", ["budget.deadline", "2026-12-01T08:00:00Z"]),
        ("data.buckets=['64x64', '80x48'", ["data.buckets: must be a list in brackets"]),
        ("budget.deadline=2026-12-01", ["budget.deadline", "offset from UTC", "(got 2026-12-01)"]),
        ("budget.deadline=2026-12-01T08:00:00", ["budget.deadline", "offset from UTC"]),
        ("island.price_per_hour=-1", ["island.price_per_hour", "a number from 0"]),
        ("island.price_per_hour=true", ["island.price_per_hour", "a number from 0"]),
        ("island.price_per_hour={lurm=1}", ["island.price_per_hour", "'lurm'", "slurm"]),
        ("island.price_per_hour={local=inf}", ["island.price_per_hour", "local = inf"]),
        ("island.price_per_hour={slurm=1}", ["price_per_hour has no number for local"]),
        ("island.speed={local=0}", ["island.speed", "local = 0", "above 0"]),
        ("island.speed={slurm=1}", ["speed has no number for local"]),
        ("partition.sizes=[1, 2]", ["sizes has 2 numbers", "num_experts = 4"]),
        ("partition.sizes=[1, 2, 0, 1]", ["partition.sizes", "greater than 0"]),
    ],
)
def test_read_with_bad_key_names_it_and_the_mend(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, [override])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["schedule=linear", "warmup_steps=1000"],
            'training.warmup_steps = 1000 leaves none of steps = 1000 for schedule = "linear"',
        ),
        (
            ["schedule=cosine", "warmup_steps=600"],
            "training.warmup_steps = 600 leaves none of router.steps = 500",
        ),
        (
            ["schedule=refined", "refined_from=runs/a", "warmup_steps=1"],
            'training.warmup_steps = 1 does not go with schedule = "refined"',
        ),
    ],
)
def test_read_with_a_schedule_that_cannot_be_followed_is_refused(
    overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_config(None, [f"training.{override}" for override in overrides])


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("training.objective=v", 'objective = "v" has the steps of a schedule'),
        (
            "training.objectives=['v', 'velocity']",
            'objectives = ["v", "velocity"] has the steps of a schedule',
        ),
    ],
)
def test_times_of_the_linear_path_are_refused_by_the_key_that_has_another(
    override: str, named: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(None, ["training.times=snr", override])
    assert named in str(caught.value)


@pytest.mark.parametrize("override", ["training.steps", "steps=3", "=3", "training.=3"])
def test_read_with_malformed_override_shows_the_form(override: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        read_config(None, [override])


def test_read_with_override_below_a_value_names_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('run = "digits"\n')
    with pytest.raises(ConfigError, match="run is 'digits'"):
        read_config(file, ["run.seed=1"])
    with pytest.raises(ConfigError, match="uri is 'a'"):
        read_config(None, ["run.uri=a", "run.uri.scheme=s3"])


def test_read_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[run]\nuri = "a"\nseed = 3\n')
    config = read_config(file, ["run.uri=b", "partition.features.transformers=some/model"])
    assert (config.run.uri, config.run.seed) == ("b", 3)
    assert config.partition.features != "pca"


PEER = "192.0.2.9:7100/p2p/12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"


def test_read_with_peers_that_are_none_or_whose_word_cannot_be_signed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"membership\.peers: 'x:1' is no peer; write it as"):
        read_config(None, ["orchestrator.tls=tls", "membership.peers=['x:1']"])
    with pytest.raises(ConfigError, match=r"membership\.peers needs orchestrator\.tls"):
        read_config(None, [f"membership.peers=['{PEER}']"])


def test_read_of_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="atoll init"):
        read_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[run\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no text; give a TOML file"):
        read_config(broken)
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); give a TOML file"):
        read_config(tmp_path)


def test_digest_depends_on_chosen_sections_alone() -> None:
    one, other = Config(), read_config(None, ["training.steps=7"])
    assert one.digest() != other.digest()
    assert one.digest("expert") == other.digest("expert")
    assert one.digest("training", without=("training.steps",)) == other.digest(
        "training", without=("training.steps",)
    )


@pytest.mark.parametrize(
    "name", ["full", "top-1", "top-4", "threshold-0.1", "nucleus-.9", "sample", "coupled"]
)
def test_read_takes_the_name_of_a_strategy(name: str) -> None:
    assert read_config(None, [f"sampling.strategy={name}"]).sampling.strategy == name


@pytest.mark.parametrize("name", ["top-0", "top", "threshold-2", "nucleus", "Full"])
def test_read_with_another_name_lists_the_strategies(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"is called '{name}'; there are full, top-N"):
        read_config(None, [f"evaluation.strategies=['full', '{name}']"])


@pytest.mark.parametrize("file", sorted(Path("configs").glob("*.toml")), ids=lambda p: p.name)
def test_example_configuration_is_valid(file: Path) -> None:
    read_config(file)


def test_read_with_a_drawing_strategy_under_an_adaptive_solver_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'evaluation\.strategies.*"sample".*dopri5.*euler'):
        read_config(None, ["sampling.solver=dopri5", "evaluation.strategies=['sample']"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["sampling.gate=centroid", "partition.features={transformers='a/b'}"],
            r'sampling\.gate = "centroid" .* partition\.features = "pca"',
        ),
        (
            ["sampling.guidance=2", "expert.condition=none"],
            r'sampling\.guidance = 2 .* expert\.condition = "none"',
        ),
        (
            ["sampling.guidance=0", "expert.condition_dropout=0"],
            r"sampling\.guidance = 0 .* raise expert\.condition_dropout above 0",
        ),
    ],
)
def test_read_with_sampling_that_the_training_makes_impossible_is_refused(
    overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read_config(None, overrides)
    for override in overrides:
        read_config(None, [override])


@pytest.mark.parametrize("key", ["expert.patch", "router.patch"])
def test_read_with_a_patch_that_does_not_divide_a_bucket_names_both(key: str) -> None:
    buckets = "data.buckets=['8x8', '6x12']"
    whole = ["expert.patch=2", "router.patch=2", buckets]
    read_config(None, whole)
    words = f"{key} = 4 does not divide images of 6x12 pixels; .* set each side in data.buckets"
    with pytest.raises(ConfigError, match=words):
        read_config(None, [*whole, f"{key}=4"])
    read_config(None, [*whole, f"{key}=4", "latents.vae=any"])  # of latents, which are not known


def test_read_of_an_npz_whose_condition_has_no_array_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r'condition = "text" needs data\.captions'):
        read_config(None, ["data.source=npz", "expert.condition=text"])


def test_run_without_a_file_goes_by_what_it_was_started_with(tmp_path: Path) -> None:
    uri = f"run.uri={tmp_path / 'run'}"
    assert run_config(None, [uri]).training == Config().training
    started = read_config(None, [uri, "training.steps=7", "router.width=16"])
    save_config(open_store(started.run.uri), started)
    assert run_config(None, [uri]) == started
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    again = run_config(None, ["router.width=32", f"run.uri={moved}"])
    assert (again.run.uri, again.training.steps, again.router.width) == (str(moved), 7, 32)


def test_run_with_a_file_goes_by_the_file(tmp_path: Path) -> None:
    started = read_config(None, [f"run.uri={tmp_path / 'run'}", "training.steps=7"])
    save_config(open_store(started.run.uri), started)
    file = tmp_path / "my.toml"
    file.write_text(f"[run]\nuri = '{tmp_path / 'run'}'\n")
    assert run_config(file).training == Config().training


@pytest.mark.parametrize("torn", ["", "[]", "{}", '{"run": 3}', "\xff"])
def test_run_whose_configuration_is_torn_asks_for_a_file(tmp_path: Path, torn: str) -> None:
    (tmp_path / "config.json").write_text(torn, encoding="latin-1")
    with pytest.raises(ConfigError, match="with --config"):
        run_config(None, [f"run.uri={tmp_path}"])


def test_run_in_a_bucket_says_nothing_of_its_orchestrator_nor_to_a_shell(bucket: str) -> None:
    uri = f"run.uri={bucket}/run"
    told = ["orchestrator.database=sqlite:////tmp/evil.db", "slurm.setup=evil", "training.steps=7"]
    told += ["orchestrator.tls=evil", f"membership.peers=['{PEER}']", "serving.api_keys=evil"]
    save_config(open_store(f"{bucket}/run"), read_config(None, [uri, *told]))
    found = run_config(None, [uri])
    assert (found.orchestrator, found.slurm) == (Config().orchestrator, Config().slurm)
    assert (found.membership, found.serving) == (Config().membership, Config().serving)
    assert found.training.steps == 7


@pytest.mark.parametrize(
    "moment", ["2026-12-01T08:00:00Z", '"2026-12-01T08:00:00Z"', "2026-12-01T09:00:00+01:00"]
)
def test_deadline_is_the_same_moment_however_it_is_written(moment: str) -> None:
    config = read_config(None, [f"budget.deadline={moment}"])
    assert config.budget.ends_at == 1796112000.0
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_prices_and_speeds_are_those_of_the_providers_that_islands_are_asked_of() -> None:
    several = ["island.provider={local=1, slurm=2}", "island.price_per_hour=1.5"]
    assert read_config(None, several).island.prices == {"local": 1.5, "slurm": 1.5}
    several += ["island.price_per_hour={local=0, slurm=3, ssh=9}", "island.speed.slurm=4"]
    config = read_config(None, [*several, "island.speed.local=1", "budget.cost=5"])
    assert config.island.prices == {"local": 0.0, "slurm": 3.0}
    assert config.island.speeds == {"local": 1.0, "slurm": 4.0}
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_sizes_without_any_balance_are_refused() -> None:
    with pytest.raises(ConfigError, match="balance = 0 leaves sizes as they come"):
        read_config(None, ["partition.sizes=[1, 2, 3, 4]", "partition.balance=0"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('island.provider="aws"', "'aws' is not known; there are local, slurm, ssh"),
        ("island.provider=3", "3 is not known"),
        ("island.min_nodes=2", "min_nodes = 2 is more than nodes = 1"),
        ("island.provider={}", "names no provider"),
        ("island.provider={ local = 0 }", "local = 0 islands cannot be; give at least 1"),
        ("island.provider={ local = 1.5 }", "local = 1.5 islands cannot be"),
        ("island.provider={ aws = 1 }", "'aws' is not known"),
    ],
)
def test_config_refuses_providers_that_cannot_be(given, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_config(None, [given])


def test_config_of_several_providers_counts_their_islands():
    asked = "island.provider={ local = 1, slurm = 2, ssh = 1 }"
    island = read_config(None, [asked]).island
    assert (island.count, island.shares) == (4, {"local": 1, "slurm": 2, "ssh": 1})
    with pytest.raises(ConfigError, match=r"count = 7, and the islands in provider are 4"):
        read_config(None, [asked, "island.count=7"])
    assert read_config(None, ["island.count=7"]).island.shares == {"local": 7}


def test_config_of_several_providers_may_be_set_over_a_saved_one(tmp_path):
    store = open_store(str(tmp_path))
    save_config(store, read_config(None, ["island.provider={ local = 1, ssh = 2 }"]))
    place = f"run.uri={tmp_path}"
    assert run_config(None, [place]).island.count == 3
    assert run_config(None, [place, "island.provider={ slurm = 7 }"]).island.count == 7
