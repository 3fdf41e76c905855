"""The services that tools expect of any gRPC server: health and reflection.

Ours rather than the packages of their names, whose releases each pin a narrow range of protobuf: whoever logs to
streamvis from beside another framework could not install them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from streamvis.errors import NotFoundError
from streamvis.server.rpc import Context, parsed, statuses
from streamvis.v1 import health_pb2, reflection_pb2, streamvis_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

HEALTH = "grpc.health.v1"
REFLECTIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


class Health:
    """grpc.health.v1: the server as a whole, named "", and each of its services are healthy until it stops."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = {"", *services}
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Tells those who watch, whose streams then end."""
        self._stopped.set()

    async def check(self, request: bytes, context: Context) -> health_pb2.HealthCheckResponse:
        """How the service is now; NOT_FOUND for one that is not here."""
        async with statuses(context):
            service = parsed(health_pb2.HealthCheckRequest, request).service
            if service not in self._services:
                raise NotFoundError(f"there is no service {service!r} here")
            return health_pb2.HealthCheckResponse(status=self._status)

    async def watch(self, request: bytes, context: Context) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """How the service is, and again when that changes."""
        async with statuses(context):
            known = parsed(health_pb2.HealthCheckRequest, request).service in self._services
            yield health_pb2.HealthCheckResponse(status=self._status if known else SERVICE_UNKNOWN)
            await self._stopped.wait()
            if known:
                yield health_pb2.HealthCheckResponse(status=NOT_SERVING)

    @property
    def _status(self) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        return NOT_SERVING if self._stopped.is_set() else SERVING


class Reflection:
    """grpc.reflection.v1: which services there are, and the protocol files that define them."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self._files = {file.name: file for file in files}
        self._services = [f"{file.package}.{service.name}" for file in files for service in file.service]
        self._symbols = {symbol: file for file in files for symbol in _symbols(file)}

    async def info(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """An answer to each question."""
        async with statuses(context):
            async for message in requests:
                yield self._answer(parsed(reflection_pb2.ServerReflectionRequest, message))

    def _answer(self, request: reflection_pb2.ServerReflectionRequest) -> reflection_pb2.ServerReflectionResponse:
        answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            answer.list_services_response.service.extend(
                reflection_pb2.ServiceResponse(name=name) for name in self._services
            )
            return answer
        file = None
        if kind == "file_by_filename":
            file = self._files.get(request.file_by_filename)
        elif kind == "file_containing_symbol":
            file = self._symbols.get(request.file_containing_symbol)
        if file is None:
            answer.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            answer.error_response.error_message = "there is no such file, symbol or extension here"
        else:
            answer.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
        return answer


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Full names of all that a file defines."""
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    for message in file.message_type:
        yield from _message_symbols(file.package, message)
    yield from (f"{file.package}.{enum.name}" for enum in file.enum_type)


def _message_symbols(prefix: str, message: DescriptorProto) -> Iterator[str]:
    name = f"{prefix}.{message.name}"
    yield name
    yield from (f"{name}.{enum.name}" for enum in message.enum_type)
    for nested in message.nested_type:
        yield from _message_symbols(name, nested)


def _published(descriptor: FileDescriptor, package: str | None = None) -> FileDescriptorProto:
    """A protocol file as clients know it: ours under its own name, a standard one under the standard's."""
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    if package:
        own, file.package = f".{file.package}.", package
        file.name = f"{package.replace('.', '/')}/{file.name.rpartition('/')[2]}"
        for field in (field for message in file.message_type for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(own, f".{package}.", 1)
        for method in (method for service in file.service for method in service.method):
            method.input_type = method.input_type.replace(own, f".{package}.", 1)
            method.output_type = method.output_type.replace(own, f".{package}.", 1)
    return file


def standard_handlers(health: Health) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    """The methods of health and reflection under their rpc names."""
    files = [
        _published(streamvis_pb2.DESCRIPTOR),
        _published(health_pb2.DESCRIPTOR, HEALTH),
        *(_published(reflection_pb2.DESCRIPTOR, package) for package in REFLECTIONS),
    ]
    status = health_pb2.HealthCheckResponse.SerializeToString
    info = grpc.stream_stream_rpc_method_handler(
        Reflection(files).info, None, reflection_pb2.ServerReflectionResponse.SerializeToString
    )
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(health.check, None, status),
        "Watch": grpc.unary_stream_rpc_method_handler(health.watch, None, status),
    }
    return (
        grpc.method_handlers_generic_handler(f"{HEALTH}.Health", methods),
        *(
            grpc.method_handlers_generic_handler(f"{package}.ServerReflection", {"ServerReflectionInfo": info})
            for package in REFLECTIONS
        ),
    )
