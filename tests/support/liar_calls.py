# SPDX-License-Identifier: Apache-2.0
"""What a host asks of a device that lies, and a score as such a device says it."""

from __future__ import annotations

from host.link.client import Client
from host.link.transfer import save_session
from host.schema.wire import answers
from host.schema.wire.header import Type
from host.schema.wire.requests import Space
from tests.support.liar import message


def score(target: int = 2, argmax: int = 3, position: int = 0, **head: int) -> tuple[Type, bytes]:
    fields = {"position": position, "target": target, "logprob": -1.0, "argmax": argmax, "digest": 0}
    record = bytes(answers.ScoreRecord.build(fields))
    return Type.SCORES, message(Type.SCORES, record * head.get("count", 0), **head)


def read(client: Client) -> object:
    return client.memory.await_data(client.memory.send_read(Space.SESSION, 0, 64, 8))


def write(client: Client) -> object:
    return client.memory.await_ok(client.memory.send_write(Space.IMAGE, 0, 0, b"12345"))


def prompt(client: Client) -> object:
    return client.prompt([1])


def empty(client: Client) -> object:
    return client.truncate(0)


def state(client: Client) -> object:
    return client.sessions.contents()


def costs(client: Client) -> object:
    return client.stats()


def save(client: Client) -> object:
    return save_session(client)


def adopt(client: Client) -> object:
    return client.sessions.adopt(0, 5, 5)


def generate(client: Client) -> object:
    client.prompt([1, 2])
    return client.generate(5).finish()
