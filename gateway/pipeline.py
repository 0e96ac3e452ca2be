"""What becomes of a request. The file to read first."""

from collections.abc import Sequence
from dataclasses import dataclass

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.aggregation import AggregationClient
from gateway.dispatcher import Dispatcher
from gateway.ensembles import Ensembles
from gateway.expectation import Expectation
from gateway.explanation import executions
from gateway.preprocessing import PreprocessingClient
from gateway.requests import Options, Prepared
from services.common.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Three steps, each a service of its own; none of them knows the next."""

    preprocessing: PreprocessingClient
    dispatcher: Dispatcher
    aggregation: AggregationClient
    ensembles: Ensembles
    """The same for versions that are made of others."""

    async def recognize(
        self,
        images: Sequence[bytes],
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> recognition_pb2.RecognizeResponse:
        """Recognise encoded pictures. One picture's error is data in its own result."""
        if model.HasField("ensemble"):
            return await self.ensembles.recognize(images, model, options, deadline)
        with self.dispatcher.expect(len(images), model, deadline) as expected:
            await expected.admission(deadline)
            prepared = await self.preprocessing.prepare(images, model.input, deadline)
        return await self.recognize_prepared(prepared, model, options, deadline, expected)

    async def recognize_prepared(
        self,
        prepared: Prepared,
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
        expected: Expectation | None = None,
    ) -> recognition_pb2.RecognizeResponse:
        """Recognise pictures that have the shape of the model's input already."""
        if model.HasField("ensemble"):
            return await self.ensembles.recognize_prepared(prepared, model, options, deadline)
        outputs = await self.dispatcher.infer(
            prepared, model, deadline, expected, explain=options.explain
        )
        results = await self.aggregation.combine(prepared, outputs, model, options, deadline)
        response = recognition_pb2.RecognizeResponse(model=model.model)
        response.results.MergeFrom(results)
        if options.explain:
            response.executions.extend(executions(outputs, model.model))
        return response
