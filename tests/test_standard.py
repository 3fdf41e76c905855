"""The standard services, asked by the standard clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from streamvis import transport
from streamvis.server.run import ServerThread, serving
from streamvis.server.service import SERVICE_NAME
from streamvis.v1 import streamvis_pb2

WAIT = 20.0


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture
def channel(server: ServerThread) -> Iterator[grpc.Channel]:
    with transport.open_channel(server.uri) as channel:
        yield channel


def test_a_server_that_runs_is_healthy(channel: grpc.Channel) -> None:
    """As a whole and each service; one that is not here is NOT_FOUND."""
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE_NAME):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError, match="no service 'other'") as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_those_who_watch_are_told_when_it_stops(server: ServerThread, channel: grpc.Channel) -> None:
    """Their streams end, so that they do not hold it up."""
    watches = [
        health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=WAIT)
        for service in (SERVICE_NAME, "other")
    ]
    status = health_pb2.HealthCheckResponse
    assert [next(watch).status for watch in watches] == [status.SERVING, status.SERVICE_UNKNOWN]
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert [[answer.status for answer in watch] for watch in watches] == [[status.NOT_SERVING], []]
    stopping.join(WAIT)
    assert not stopping.is_alive()


def test_reflection_describes_every_service(channel: grpc.Channel) -> None:
    """A client that knows nothing but the address lists the services, and makes and parses their messages."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert services == {
        SERVICE_NAME,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    pool = DescriptorPool(database)
    for service in services:
        assert pool.FindServiceByName(service).methods
    method = pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert check(request()).status == 1
    own = pool.FindServiceByName(SERVICE_NAME)
    assert [method.name for method in own.methods] == [
        method.name for method in streamvis_pb2.DESCRIPTOR.services_by_name["Streamvis"].methods
    ]
    info = own.methods_by_name["Write"]
    assert info.input_type.full_name == "streamvis.v1.Batch"
    assert pool.FindMessageTypeByName("grpc.reflection.v1.ServerReflectionRequest").fields_by_name["list_services"]


def test_reflection_says_what_it_does_not_know(channel: grpc.Channel) -> None:
    """Each question has its answer, the stream goes on."""
    questions = [
        reflection_pb2.ServerReflectionRequest(file_by_filename="none.proto"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="streamvis.v1.None"),
        reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="streamvis.v1.Batch"),
        reflection_pb2.ServerReflectionRequest(),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="streamvis.v1.Streamvis.Write"),
    ]
    answers = list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(questions)))
    assert [answer.error_response.error_code for answer in answers] == [5, 5, 5, 5, 0]
    assert answers[-1].file_descriptor_response.file_descriptor_proto
