import tomllib

import pytest

from atoll.config_file import commented, parse_config, read_config
from atoll.errors import ConfigError
from atoll.fit import refuse_batches
from atoll.jobs import job_specs
from atoll.parallel_fit import refuse_groups, refuse_rows, refuse_tokens
from atoll.parallel_section import Layout, ParallelSection, parallel_of
from atoll.types import Role

BUCKETS = "data.buckets=['8x8', '12x4']"
PIPELINE = ["island.parallel.pipeline=2", "island.processes=4"]


def refused(*pairs):
    with pytest.raises(ConfigError) as caught:
        read_config(None, pairs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "num", "expected"),
    [
        ("", 1, Layout()),
        ("", 6, Layout(data=6)),
        ("shard=2", 6, Layout(data=3, shard=2)),
        ("shard=0,sequence=2", 8, Layout(shard=4, sequence=2)),
        ("pipeline=2,tensor=2", 8, Layout(pipeline=2, data=2, tensor=2)),
    ],
)
def test_layout_takes_all_processes_there_are(text, num, expected):
    layout = parallel_of(text).over(num)
    assert layout == expected
    assert layout.num == num


def test_section_and_its_words_say_the_same():
    section = ParallelSection(shard=2, pipeline=2, schedule="zero-bubble", recompute=True)
    assert str(section) == "shard=2,pipeline=2,schedule=zero-bubble,recompute=true"
    assert parallel_of(str(section)) == section
    assert str(ParallelSection()) == ""


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["island.parallel.shard=2"], "lays out a multiple of 2 processes (shard=2), and the"),
        (
            ["island.parallel.data=2", "island.processes=4"],
            "lays out 2 processes (data=2), and the island has 4; change it, or island.processes",
        ),
        (
            ["island.parallel.pipeline=4", "island.processes=4"],
            "island.parallel.pipeline = 4 is more than the expert has blocks, 3; lower it, or",
        ),
        (
            ["island.parallel.sequence=3", "island.processes=3"],
            "island.parallel.sequence = 3 does not divide the expert's 4 heads; lower it, or",
        ),
        (
            ["island.parallel.tensor=3", "island.processes=3", "expert.preset=MMDiT-T"],
            "island.parallel.tensor = 3 does not divide the expert's 4 heads; lower it, or",
        ),
        (
            PIPELINE,
            "pipeline = 2 wants as many micro-batches at least, and training.accumulation = 1",
        ),
        (
            [*PIPELINE, "island.parallel.schedule=zero-bubble", "training.accumulation=3"],
            "wants training.accumulation to be a multiple of pipeline = 2, not 3; change it",
        ),
        (
            [*PIPELINE, "island.parallel.schedule=interleaved", "training.accumulation=2"],
            'schedule = "interleaved" wants several stages of a process; set',
        ),
        (
            [*PIPELINE, "island.parallel.schedule=zero-bubble", "training.compile=true"],
            'schedule = "zero-bubble" takes the backward pass apart, which training.compile does',
        ),
        (
            [*PIPELINE, "island.parallel.schedule=zero-bubble", "island.parallel.shard=2"],
            "which island.parallel.shard = 2 does not allow",
        ),
        (
            [*PIPELINE, "island.parallel.tensor=2", "training.accumulation=2"],
            "tensor = 2 does not go together with pipeline = 2; set one of the two to 1",
        ),
        (["island.parallel.stages=2"], 'stages = 2 needs schedule = "interleaved"'),
        (
            ["island.parallel.shard=0", "island.parallel.data=2"],
            "shard = 0 takes all processes that are left, and data = 2 some of them",
        ),
        (["island.parallel.shrad=2"], "shrad is not a known key; did you mean island.parallel.sha"),
        (["island.parallel=[{ shard = 1 }, { shard = -1 }]"], "island.parallel.1.shard: must be"),
        (
            ["island.parallel={ sharding = 'zero-2' }"],
            'sharding = "zero-2" shares nothing out with shard = 1; raise it, or set it to 0',
        ),
        (
            ["island.parallel={ sharding = 'zero-2', shard = 2, data = 2 }"],
            "the batch, and data = 2 would not; set shard to 0, for all",
        ),
        (
            ["island.parallel={ sharding = 'zero-2', shard = 2 }", "island.processes=4"],
            "4 processes (shard=2,sharding=zero-2) leave 2 along data; set shard to 0, for all",
        ),
        (
            ["island.parallel={ sharding = 'zero-1', shard = 2, sequence = 2 }"],
            'sharding = "zero-1" goes without sequence and tensor; set them to 1',
        ),
        (
            ["island.parallel={ schedule = 'deepspeed', pipeline = 2, tensor = 2 }"],
            'schedule = "deepspeed" goes without sequence and tensor; set them to 1',
        ),
        (
            ["island.parallel={ sharding = 'zero-2', shard = 2, pipeline = 2 }"],
            'sharding = "zero-2" does not go with this pipeline; set it to "fsdp", or to "zero-1"',
        ),
        (
            ["island.parallel={ schedule = 'deepspeed', shard = 2, pipeline = 2 }"],
            'schedule = "deepspeed" does not go with FSDP; set sharding to "zero-1", or shard to 1',
        ),
        (
            [
                "island.parallel={ sharding = 'zero-3', shard = 2 }",
                "island.processes=2",
                "training.compile=true",
            ],
            'training.compile does not go with island.parallel.sharding = "zero-3"',
        ),
        (
            [
                "island.parallel={ sharding = 'zero-1', shard = 2 }",
                "island.processes=2",
                "training.on_spike=skip",
            ],
            'training.on_spike = "skip" does not go with island.parallel.sharding = "zero-1"',
        ),
        (
            ["island.parallel.sequence=2", "island.processes=2", BUCKETS],
            "sequence = 2 shares out images of one size alone, and data.buckets names 2; set it",
        ),
        (
            [*PIPELINE, "training.accumulation=2", BUCKETS],
            "pipeline = 2 shares out images of one size alone, and data.buckets names 2; set it",
        ),
        (
            [
                "island.parallel={ schedule = 'deepspeed', pipeline = 2 }",
                "island.processes=2",
                "training.accumulation=2",
                BUCKETS,
            ],
            "pipeline = 2 shares out images of one size alone, and data.buckets names 2; set it",
        ),
        (["island.parallel=[]"], "island.parallel: is no layout; give a table such as"),
        (["island.parallel=3"], "island.parallel: is no layout"),
    ],
)
def test_layout_that_cannot_be_is_refused_in_a_sentence(pairs, words):
    assert words in refused(*pairs)


def test_layout_has_to_fit_every_number_of_nodes_an_island_may_have():
    pairs = ["island.processes=2", "island.nodes=4", "island.min_nodes=1"]
    assert "and the island has 2" in refused(*pairs, "island.parallel.shard=4")


@pytest.mark.parametrize("words", ["shard=x", "sharp=2", "schedule=best", "shard"])
def test_words_of_an_agent_that_say_no_layout_are_refused(words):
    with pytest.raises(
        ConfigError, match=f"--parallel {words}: .*; write it as shard=2,sequence=2"
    ):
        parallel_of(words)


def test_words_of_an_agent_that_give_a_key_twice_are_refused():
    with pytest.raises(ConfigError, match="--parallel shard=2, shard=3: shard is given twice"):
        parallel_of("shard=2, shard=3")


@pytest.mark.parametrize("given", ["{ shard = 2 }", "[{ pipeline = 2 }, { recompute = true }]"])
def test_layouts_are_written_as_tables_and_read_again(given):
    pairs = ["island.processes=2", "training.accumulation=2", f"island.parallel={given}"]
    config = read_config(None, pairs)
    assert parse_config(tomllib.loads(commented(config)), "text") == config
    assert parse_config(config.model_dump(mode="json"), "json") == config


def test_tokens_and_rows_that_do_not_come_out_even_are_refused():
    with pytest.raises(ConfigError, match="sequence = 4 does not divide the 49 tokens"):
        refuse_tokens(ParallelSection(sequence=4), 49)
    with pytest.raises(ConfigError, match="expert-0 has 6 samples in a step, too few for 7"):
        refuse_rows("expert-0", 6, Layout(data=7), ParallelSection(), 1)
    with pytest.raises(ConfigError, match=r"for .*accumulation = 2 micro-batches on each of 4"):
        refuse_rows("expert-0", 6, Layout(shard=4), ParallelSection(shard=4), 2)
    pipeline = ParallelSection(pipeline=2)
    with pytest.raises(ConfigError, match="accumulation = 3 on each of 2 parts does not divide"):
        refuse_rows("expert-0", 16, Layout(pipeline=2, data=2), pipeline, 3)
    refuse_rows("expert-0", 12, Layout(pipeline=2, data=2), pipeline, 3)


def test_groups_of_assigned_noises_that_processes_would_cut_are_refused():
    with pytest.raises(ConfigError, match=r"training\.immiscible = 8 .* has a multiple of 16$"):
        refuse_groups("expert-0", 24, Layout(data=2), 8)
    for rows, processes, size in ((24, 3, 8), (20, 1, 8), (20, 2, 5), (7, 3, 0), (30, 2, 15)):
        refuse_groups("expert-0", rows, Layout(data=processes), size)


def test_groups_that_a_job_would_cut_are_refused_before_it_starts_but_for_the_router():
    pairs = ["island.processes=2", "training.immiscible=16", "training.batch_size=128"]
    config = read_config(None, pairs)  # of four experts, each of 32 rows
    sizes = [10] * 4
    specs = job_specs(config, "p", [Role.EXPERT, Role.MONOLITH, Role.ROUTER])
    refuse_batches(config, specs, sizes)
    odd = read_config(None, [*pairs, "training.batch_size=96", "router.batch_size=50"])
    refuse_batches(odd, job_specs(odd, "p", [Role.MONOLITH, Role.ROUTER]), sizes)
    with pytest.raises(ConfigError, match="24 rows of expert-0 in a step 2 processes have parts"):
        refuse_batches(odd, specs, sizes)
