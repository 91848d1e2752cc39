"""Images over gRPC, by the generated stubs and a real connection."""

from __future__ import annotations

import io
import json
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from PIL import Image

from atoll.clock import SystemClock
from atoll.rates import Rates
from atoll.wire.v1 import images_pb2 as wire
from serving.service.order import Order
from tests.serving.built import finished

LONG = {"num": 16, "steps": 250}  # seconds: longer than whatever a test does meanwhile
ADA = (("authorization", "Bearer key-of-ada"),)


def events(stream):
    return [answer.event for answer in stream]


def accepted(stream):
    """The job, once it has begun."""
    first, second = next(stream).event, next(stream).event
    assert first.WhichOneof("event") == "accepted"
    assert second.WhichOneof("event") == "progress"
    return first.accepted.job


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        list(call) if hasattr(call, "__next__") else call()
    return caught.value


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def test_generate_tells_of_each_image_in_order_and_ends_with_the_job(served):
    request = wire.GenerateRequest(conditions=["3", "5"], num=2, seed=7, steps=4, strategy="full")
    told = events(served.stub.Generate(request))
    kinds = [each.WhichOneof("event") for each in told]
    assert (kinds[0], kinds[-1]) == ("accepted", "ended")
    assert told[-1].ended.outcome == wire.OUTCOME_DONE
    job = served.job(told[0].accepted.job).view()
    for index in range(2):
        steps = [it.progress for it in told if it.HasField("progress")]
        steps = [it for it in steps if it.index == index]
        assert [it.step for it in steps] == sorted({it.step for it in steps})
        weights = [list(each.experts) for it in steps for each in it.weights]
        assert weights == [list(each) for each in job.images[index].weights]
        assert np.allclose(np.sum(weights, axis=1), 1)
        (image,) = (it.image for it in told if it.HasField("image") and it.image.index == index)
        assert (pixels(image.png) == job.images[index].image[:, :, 0]).all()
        recipe = json.loads(image.recipe)
        assert (recipe["seed"], recipe["condition"]) == (7 + index, "35"[index])


def test_reader_is_shown_each_image_as_it_would_become(served, valve):
    valve.let(0)
    stream = served.stub.Generate(wire.GenerateRequest(num=2, steps=4, previews=1))
    job = served.job(next(stream).event.accepted.job)
    valve.let_until(lambda: all(image.preview_step for image in job.view().images))
    previews = (it.event.preview for it in stream if it.event.HasField("preview"))
    shown = [next(previews), next(previews)]
    valve.let(None)
    assert [(it.index, it.step, pixels(it.png).shape) for it in shown] == [
        (0, 2, (8, 8)),
        (1, 2, (8, 8)),
    ]
    assert list(previews) == []


def test_about_tells_what_can_be_asked_for(served):
    told = served.stub.About(wire.AboutRequest())
    assert (told.width, told.height, told.channels, told.num_experts) == (8, 8, 1, 2)
    assert (told.condition, list(told.class_names)) == ("class", list("0123456789"))
    assert (told.steps, told.max_images, told.max_guidance) == (3, 16, 100)
    assert told.max_queue == served.run.config.serving.max_queue
    assert {"top-N", "nucleus-P", "ancestral"} < set(told.strategies)
    assert set(told.checkpoints) == {"expert-0", "expert-1", "router"}


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"conditions": ["eleven"]}, "eleven"),
        ({"num": 0}, "n = 0"),
        ({"num": 17}, "n = 17"),
        ({"width": 4096, "height": 4096}, "8x8"),
        ({"width": 8}, "8x8"),
        ({"steps": 2**32 - 1}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"seed": 2**64 - 1}, "seed"),
        ({"solver": "dopri5"}, "solver"),
        ({"strategy": "top-3"}, "top-2"),
        ({"previews": 2**32 - 1}, "previews"),
        ({"priority": 9}, "priority"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"conditions": ["\n" * 20_000]}, "no class"),
    ],
)
def test_request_that_cannot_be_had_is_refused_by_its_field(served, request_, named):
    error = refusal(served.stub.Generate(wire.GenerateRequest(**request_)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in error.details()
    assert served.refused[-1] == "unusable"


def test_request_that_is_no_message_or_too_large_is_refused_and_others_are_not(served):
    generate = served.channel.unary_stream("/atoll.wire.v1.Images/Generate")
    assert refusal(generate(b"\xff")).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(generate(bytes(70_000))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert events(served.stub.Generate(wire.GenerateRequest()))[-1].HasField("ended")


def test_disconnect_frees_the_rows_of_who_asked_for_that(served):
    stream = served.stub.Generate(wire.GenerateRequest(**LONG, cancel_on_disconnect=True))
    job = served.job(accepted(stream))
    stream.cancel()
    view = finished(job)
    assert view.state == "cancelled"
    assert max(image.step for image in view.images) < 250
    assert served.service.num_waiting == 0


def test_disconnect_leaves_a_job_alone_and_it_can_be_watched_again(served):
    stream = served.stub.Generate(wire.GenerateRequest(num=2, steps=60, seed=3))
    name = accepted(stream)
    stream.cancel()
    told = events(served.stub.Watch(wire.WatchRequest(job=name)))
    assert sum(each.HasField("image") for each in told) == 2
    assert told[-1].ended.outcome == wire.OUTCOME_DONE
    weights = [len(it.progress.weights) for it in told if it.HasField("progress")]
    assert sum(weights) == 120  # what it missed is told, too
    again = events(served.stub.Watch(wire.WatchRequest(job=name)))
    assert [it.image.png for it in again if it.HasField("image")] == [
        it.image.png for it in told if it.HasField("image")
    ]


def test_job_that_is_cancelled_says_so_to_who_reads_it(served):
    stream = served.stub.Generate(wire.GenerateRequest(**LONG))
    served.stub.Cancel(wire.CancelRequest(job=accepted(stream)))
    last = events(stream)[-1].ended
    assert (last.outcome, last.reason) == (wire.OUTCOME_CANCELLED, "it was cancelled")


def test_job_that_misses_its_deadline_fails_with_the_reason(served):
    stream, told = served.stub.Generate(wire.GenerateRequest(**LONG, deadline_s=0.01)), []
    error = refusal(lambda: told.extend(answer.event for answer in stream))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert told[-1].ended.outcome == wire.OUTCOME_FAILED
    assert error.details() == told[-1].ended.reason == "it was not done in 0.01 s"
    again = events(served.stub.Watch(wire.WatchRequest(job=told[0].accepted.job)))
    assert again[-1].ended == told[-1].ended


def test_slow_reader_misses_what_is_old_and_holds_up_nobody(served):
    request = wire.GenerateRequest(num=16, steps=100, previews=100)
    slow = served.stub.Generate(request)
    job = served.job(next(slow).event.accepted.job)
    assert events(served.stub.Generate(wire.GenerateRequest()))[-1].ended.outcome
    finished(job)
    told = events(slow)
    assert len(told) < 16 * 100  # of 3,200 events
    assert sum(it.HasField("image") for it in told) == 16
    weights = [len(it.progress.weights) for it in told if it.HasField("progress")]
    assert sum(weights) == 1600


def test_jobs_are_told_to_their_owner_alone_and_strangers_nothing(served):
    name = served.service.order(Order(), "ada").name
    for call in (
        served.stub.Watch(wire.WatchRequest(job=name)),
        lambda: served.stub.Cancel(wire.CancelRequest(job=name)),
    ):
        assert refusal(call).code() is grpc.StatusCode.NOT_FOUND
    told = events(served.stub.Watch(wire.WatchRequest(job=name), metadata=ADA))
    assert told[-1].HasField("ended")
    stranger = (("authorization", "Bearer guessed"),)
    for call in (
        served.stub.Generate(wire.GenerateRequest(), metadata=stranger),
        served.stub.Watch(wire.WatchRequest(job=name), metadata=stranger),
        lambda: served.stub.Cancel(wire.CancelRequest(job=name), metadata=stranger),
        lambda: served.stub.About(wire.AboutRequest(), metadata=stranger),
    ):
        error = refusal(call)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "guessed" not in error.details()
    assert served.refused[-4:] == ["stranger"] * 4


def test_full_queue_is_told_with_when_to_ask_again(serve):
    served = serve(max_queue=4)
    stream = served.stub.Generate(wire.GenerateRequest(num=4, steps=250, cancel_on_disconnect=True))
    accepted(stream)
    error = refusal(served.stub.Generate(wire.GenerateRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_queue" in error.details()
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
    assert served.refused == ["busy"]
    stream.cancel()


def test_caller_who_asks_too_often_waits_and_others_do_not(serve):
    served = serve(rates=Rates(1 / 60, 1, SystemClock()))
    assert events(served.stub.Generate(wire.GenerateRequest()))
    error = refusal(served.stub.Generate(wire.GenerateRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0 < int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) <= 60_000
    assert served.refused == ["hasty"]
    assert events(served.stub.Generate(wire.GenerateRequest(), metadata=ADA))


def test_service_that_drains_finishes_streams_and_sends_others_away(serve):
    served = serve()
    stream = served.stub.Generate(wire.GenerateRequest(num=2, steps=60))
    accepted(stream)
    served.front.leave()
    drained = threading.Thread(target=served.service.drain, args=[60])
    drained.start()
    assert events(stream)[-1].ended.outcome == wire.OUTCOME_DONE
    drained.join()
    error = refusal(served.stub.Generate(wire.GenerateRequest()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "ask another" in error.details()
    health = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "atoll.wire.v1.Images"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_and_reflection_tell_of_the_service(served):
    health = health_pb2_grpc.HealthStub(served.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service="atoll.wire.v1.Images"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    names = ProtoReflectionDescriptorDatabase(served.channel).get_services()
    assert "atoll.wire.v1.Images" in names
