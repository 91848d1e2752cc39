"""Every layout learns what one process does."""

import pytest
import torch

from tests.experts.parallel import scenes

ON_TWO = [
    "data=2",
    "shard=2",
    "sequence=2",
    "tensor=2",
    "shard=2,recompute=true",
]
ON_FOUR = [
    "data=4",
    "shard=4",
    "sequence=4",
    "tensor=4",
    "data=2,shard=2",
    "data=2,sequence=2",
    "shard=2,sequence=2",
    "shard=2,tensor=2",
    "sequence=2,tensor=2,recompute=true",
]

PIPELINES_OF_TWO = [
    "pipeline=2",
    "pipeline=2,schedule=interleaved,stages=2",
    "pipeline=2,schedule=zero-bubble,recompute=true",
]
PIPELINES_OF_FOUR = ["pipeline=4", "pipeline=2,data=2", "pipeline=2,shard=2"]


@pytest.fixture(scope="module")
def serial():
    return scenes.play("", 1)


@pytest.fixture(scope="module")
def deep():
    return scenes.play_pipeline("", 1)


def assert_same(one, other):
    """Losses and norms of all steps; and of the last, weights, averages, and gradients, in the
    moments that AdamW keeps of them."""
    (told, snapshot), (others, other_snapshot) = one, other
    torch.testing.assert_close(torch.tensor(others), torch.tensor(told), rtol=1e-5, atol=1e-6)
    assert other_snapshot.num_averaged == snapshot.num_averaged
    averages = zip(snapshot.averages, other_snapshot.averages, strict=True)
    parts = [(snapshot.network, other_snapshot.network), *averages]
    for moment in ("step", "exp_avg", "exp_avg_sq"):
        own, others = (
            {key: part for key, part in each.optimizer.items() if key.endswith(f".{moment}")}
            for each in (snapshot, other_snapshot)
        )
        parts.append((own, others))
    for own, others in parts:
        assert own.keys() == others.keys()
        total = torch.stack([part.double().norm() for part in own.values()]).norm()
        for key, part in own.items():
            # Not each by its own size: a key's bias has no gradient but rounding's.
            assert (others[key].double() - part.double()).norm() <= 1e-5 * total, key


@pytest.mark.parametrize("parallel", ON_TWO)
def test_two_processes_learn_what_one_does(pair, serial, parallel):
    assert_same(serial, pair.call(scenes.play, parallel, 2)[0])


@pytest.mark.parametrize("parallel", ON_FOUR)
def test_four_processes_learn_what_one_does(four, serial, parallel):
    assert_same(serial, four.call(scenes.play, parallel, 4)[0])


@pytest.mark.parametrize("parallel", PIPELINES_OF_TWO)
def test_pipeline_of_two_processes_learns_what_one_does(pair, deep, parallel):
    assert_same(deep, pair.call(scenes.play_pipeline, parallel, 2)[0])


@pytest.mark.parametrize("parallel", PIPELINES_OF_FOUR)
def test_pipeline_of_four_processes_learns_what_one_does(four, deep, parallel):
    assert_same(deep, four.call(scenes.play_pipeline, parallel, 4)[0])


def test_pieces_of_a_batch_learn_what_the_whole_does(four, serial):
    assert_same(serial, four.call(scenes.play_in_pieces, "data=2,shard=2", 4)[0])


@pytest.fixture(scope="module")
def weighed():
    return scenes.play_weighed("", 1)


@pytest.mark.parametrize("parallel", ["data=2", "shard=2", "pipeline=2"])
def test_two_processes_learn_what_one_does_of_rows_with_weights_and_noise(pair, weighed, parallel):
    assert_same(weighed, pair.call(scenes.play_weighed, parallel, 2)[0])


@pytest.fixture(scope="module")
def routed():
    return scenes.play_routed("", 1)


@pytest.mark.parametrize("parallel", ["data=2", "shard=2,recompute=true", "tensor=2"])
def test_two_processes_learn_what_one_does_if_tokens_pass_by_blocks(pair, routed, parallel):
    assert_same(routed, pair.call(scenes.play_routed, parallel, 2)[0])


@pytest.fixture(scope="module")
def joint():
    return scenes.play_jointly("", 1)


@pytest.mark.parametrize(
    "parallel",
    ["data=2", "shard=2,recompute=true", "pipeline=2", "sequence=2", "tensor=2,recompute=true"],
)
def test_two_processes_learn_what_one_does_of_image_and_class_together(pair, joint, parallel):
    assert_same(joint, pair.call(scenes.play_jointly, parallel, 2)[0])


@pytest.mark.parametrize("parallel", ["sequence=2,tensor=2", "shard=2,tensor=2", "sequence=4"])
def test_four_processes_learn_what_one_does_of_image_and_words_together(four, parallel):
    one = scenes.play_jointly("", 1, scenes.BY_TEXT)
    assert_same(one, four.call(scenes.play_jointly, parallel, 4, scenes.BY_TEXT)[0])


@pytest.mark.parametrize("sizes", [scenes.SIZES, scenes.JOINT])
@pytest.mark.parametrize("parallel", ["data=2", "shard=2,recompute=true", "tensor=2"])
def test_two_processes_align_as_one_does(pair, parallel, sizes):
    one = scenes.play_aligned("", 1, sizes)
    assert_same(one, pair.call(scenes.play_aligned, parallel, 2, sizes)[0])


@pytest.mark.parametrize("sizes", [scenes.SIZES, scenes.JOINT])
@pytest.mark.parametrize("parallel", ["data=2", "shard=2,recompute=true", "tensor=2"])
def test_two_processes_learn_what_one_does_of_images_of_several_shapes(pair, parallel, sizes):
    one = scenes.play_sizes("", 1, sizes)
    assert_same(one, pair.call(scenes.play_sizes, parallel, 2, sizes)[0])


@pytest.fixture(scope="module")
def listening():
    return scenes.play_listening("", 1)


@pytest.mark.parametrize(
    "parallel", ["data=2", "shard=2,recompute=true", "sequence=2", "tensor=2", "pipeline=2"]
)
def test_two_processes_learn_what_one_does_of_image_looking_at_words(pair, listening, parallel):
    assert_same(listening, pair.call(scenes.play_listening, parallel, 2)[0])


@pytest.mark.parametrize("parallel", ["sequence=2,tensor=2", "shard=2,tensor=2,recompute=true"])
def test_four_processes_learn_what_one_does_of_image_looking_at_words(four, listening, parallel):
    assert_same(listening, four.call(scenes.play_listening, parallel, 4)[0])


def test_interrupted_twice_and_resumed_in_other_layouts_equals_uninterrupted(pair, four, serial):
    told, snapshot = pair.call(scenes.play, "shard=2", 2, None, 7)[0]
    more, snapshot = four.call(scenes.play, "data=2,shard=2", 4, snapshot, 6)[0]
    last, snapshot = scenes.play("", 1, snapshot, 7)
    assert_same(serial, ([*told, *more, *last], snapshot))


def test_pipeline_interrupted_twice_and_resumed_in_other_layouts_equals_uninterrupted(
    pair, four, deep
):
    told, snapshot = pair.call(scenes.play_pipeline, "pipeline=2", 2, None, 7)[0]
    more, snapshot = four.call(scenes.play_pipeline, "shard=2", 4, snapshot, 3)[0]
    again, snapshot = four.call(scenes.play_pipeline, "pipeline=2,shard=2", 4, snapshot, 3)[0]
    last, snapshot = scenes.play_pipeline("", 1, snapshot, 7)
    assert_same(deep, ([*told, *more, *again, *last], snapshot))


def test_snapshot_of_a_pipeline_in_parts_is_left_with_the_first_process_alone(four):
    first, *others = four.call(scenes.leave, "pipeline=2,shard=2", 4)
    assert first > 0
    assert others == [0, 0, 0]


@pytest.mark.parametrize(
    "parallel",
    ["data=2", "shard=2", "sequence=2", "tensor=2", "pipeline=2,schedule=interleaved,stages=2"],
)
def test_average_of_two_processes_answers_as_that_of_one(pair, parallel):
    expected = scenes.draw("", 1)
    torch.testing.assert_close(pair.call(scenes.draw, parallel, 2)[0], expected)
    # Trained in bf16, it answers in fp32 all the same.
    torch.testing.assert_close(pair.call(scenes.draw, parallel, 2, "bf16")[0], expected)


def test_processes_that_share_videos_learn_what_one_does(pair, four):
    one = scenes.play_video("", 1)
    assert_same(one, pair.call(scenes.play_video, "sequence=2", 2)[0])
    assert_same(one, four.call(scenes.play_video, "sequence=4,recompute=true", 4)[0])
    assert_same(one, four.call(scenes.play_video, "shard=2,sequence=2", 4)[0])
    assert_same(one, four.call(scenes.play_video, "sequence=2,tensor=2", 4)[0])
    told = scenes.play_listening("", 1, scenes.VIDEO_LISTENING)
    assert_same(told, pair.call(scenes.play_listening, "sequence=2", 2, scenes.VIDEO_LISTENING)[0])
