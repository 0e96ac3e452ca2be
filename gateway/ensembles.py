"""What becomes of a request for an ensemble: its members run at the same time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.aggregation import AggregationClient
from gateway.catalog import Wanted
from gateway.dispatcher import Dispatcher
from gateway.explanation import executions
from gateway.members import MemberAnswer, failures, unanswered
from gateway.preprocessing import PreprocessingClient
from gateway.requests import Options, Output, Prepared
from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError, FacetError, InvalidRequestError
from services.common.models.key import ModelKey
from services.common.rpc.calls import domain_error

LATE_SHARE: Final = 0.85
"""A member that has not answered after that share of a request's time is done without, where
another one has: the rest is for combining, and for the way back."""

Find: TypeAlias = Callable[[Wanted, Deadline], Awaitable[model_pb2.ModelDescriptor]]
Run: TypeAlias = Callable[[model_pb2.ModelDescriptor], Awaitable[tuple[Prepared, list[Output]]]]
"""Prepares pictures for one member and infers them."""


@dataclass(frozen=True, slots=True)
class Ensembles:
    """The same steps as in the pipeline, with the middle one for each member.

    Each member is announced as a request of its own, so that the scheduler may refuse one and
    place the others, on different shards where these are free.
    """

    find: Find
    """Finds the members; ModelNotFoundError for one that is not there."""
    preprocessing: PreprocessingClient
    dispatcher: Dispatcher
    aggregation: AggregationClient

    async def recognize(
        self,
        images: Sequence[bytes],
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> recognition_pb2.RecognizeResponse:
        """Recognise encoded pictures; without the members that fail or are late, if need be.

        Raises the first member's error when all fail.
        """
        async with preparing(self.preprocessing, images, deadline) as prepare:

            async def run(member: model_pb2.ModelDescriptor) -> tuple[Prepared, list[Output]]:
                with self.dispatcher.expect(len(images), member, deadline) as expected:
                    await expected.admission(deadline)
                    prepared = await prepare(member.input)
                return prepared, await self.dispatcher.infer(
                    prepared, member, deadline, expected, explain=options.explain
                )

            answers = await ask_members(model.ensemble, self.find, run, len(images), deadline)
        return await self._combine(answers, len(images), model, options, deadline)

    async def recognize_prepared(
        self,
        prepared: Prepared,
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> recognition_pb2.RecognizeResponse:
        """Recognise pictures that have the shape of the first member's input already.

        Raises as `recognize` does, and InvalidRequestError (WRONG_SHAPE) when a member has
        another input.
        """

        async def run(member: model_pb2.ModelDescriptor) -> tuple[Prepared, list[Output]]:
            return prepared, await self.dispatcher.infer(
                prepared, member, deadline, explain=options.explain
            )

        await self._check_one_input(model, deadline)
        answers = await ask_members(model.ensemble, self.find, run, prepared.count, deadline)
        return await self._combine(answers, prepared.count, model, options, deadline)

    async def _combine(
        self,
        answers: Sequence[MemberAnswer],
        count: int,
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> recognition_pb2.RecognizeResponse:
        first = answers[0].error
        if first is not None and all(answer.error is not None for answer in answers):
            raise first
        lost = unanswered(answers)
        results = await self.aggregation.combine_members(
            count,
            [(each.member.weight, each.outputs) for each in answers],
            lost,
            model,
            options,
            deadline,
        )
        failed = failures(answers, lost)
        response = recognition_pb2.RecognizeResponse(
            model=model.model, partial=bool(failed), failures=failed
        )
        response.results.MergeFrom(results)
        if options.explain:
            for answer in answers:
                response.executions.extend(executions(answer.outputs, answer.member.model))
        return response

    async def _check_one_input(self, model: model_pb2.ModelDescriptor, deadline: Deadline) -> None:
        for member in model.ensemble.members:
            try:
                found = await self.find(_wanted(member), deadline)
            except FacetError:
                continue  # it has no part in the answer
            if found.input != model.input:
                raise InvalidRequestError(
                    f"a tensor cannot be the input of all members: {_name(member)} takes another "
                    f"than the first; send encoded images instead",
                    reason="WRONG_SHAPE",
                )


@asynccontextmanager
async def preparing(
    preprocessing: PreprocessingClient, images: Sequence[bytes], deadline: Deadline
) -> AsyncIterator[Callable[[model_pb2.InputSpec], Coroutine[Any, Any, Prepared]]]:
    """Yield what prepares the pictures of a request: once for all members of the same input."""
    tasks: dict[bytes, asyncio.Task[Prepared]] = {}

    async def prepare(spec: model_pb2.InputSpec) -> Prepared:
        key = spec.SerializeToString(deterministic=True)
        if key not in tasks:
            tasks[key] = asyncio.create_task(preprocessing.prepare(images, spec, deadline))
        # A member that is refused meanwhile must not take it away from the others.
        return await asyncio.shield(tasks[key])

    try:
        yield prepare
    finally:
        await _end(tasks.values())


async def ask_members(
    ensemble: model_pb2.Ensemble, find: Find, run: Run, count: int, deadline: Deadline
) -> list[MemberAnswer]:
    """Return what became of each member, in order. Those that are late are cancelled."""
    late = Deadline.after(LATE_SHARE * deadline.remaining_s)

    async def ask(member: model_pb2.EnsembleMember) -> MemberAnswer:
        try:
            found = await find(_wanted(member), deadline)
            return MemberAnswer.of(member, *await run(found))
        except Exception as error:
            return MemberAnswer.failed(member, domain_error(error), count)

    tasks = [asyncio.create_task(ask(member)) for member in ensemble.members]
    try:
        await _settle(tasks, late)
        return [
            task.result() if task.done() else MemberAnswer.failed(member, _late(member), count)
            for member, task in zip(ensemble.members, tasks, strict=True)
        ]
    finally:
        await _end(tasks)


async def _settle(tasks: Sequence[asyncio.Task[MemberAnswer]], late: Deadline) -> None:
    """Return when all have ended; from `late` on, when one has an answer."""
    _, pending = await asyncio.wait(tasks, timeout=late.remaining_s)
    while pending and not any(task.result().answered for task in tasks if task.done()):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait for its end."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.gather(*running, return_exceptions=True)


def _late(member: model_pb2.EnsembleMember) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"{_name(member)} had not answered when {LATE_SHARE:.0%} of the time was over",
        reason="MEMBER_LATE",
    )


def _wanted(member: model_pb2.EnsembleMember) -> Wanted:
    return Wanted(member.model.name, member.model.version)


def _name(member: model_pb2.EnsembleMember) -> str:
    return str(ModelKey.from_message(member.model))
