"""Of a name's addresses the driver is told that one first which answers as Neo4j does."""

import asyncio
from typing import Any

import pytest
from neo4j import Address

from common.network import reaching
from common.network.names import Address as Place
from graphinator.addresses import resolver


@pytest.mark.parametrize("wrong", [b"HTTP/1.1 400 Bad Request\r\n", b"\x00\x00"], ids=["HTTP", "hangs up"])
async def test_what_does_not_answer_as_bolt_does_is_tried_last(monkeypatch: pytest.MonkeyPatch, wrong: bytes) -> None:
    """Fault 89."""

    def answering(answer: bytes) -> Any:
        async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(20)
            writer.write(answer)
            writer.close()

        return answer_once

    async with (
        await asyncio.start_server(answering(wrong), "127.0.0.2", 0) as first,
        await asyncio.start_server(answering(bytes(4)), "127.0.0.3", 0) as second,
    ):
        places = [Place(*each.sockets[0].getsockname()) for each in (first, second)]

        async def find(*_: Any, **__: Any) -> list[Place]:
            return places

        monkeypatch.setattr(reaching, "look_up", find)

        found = await resolver(timeout=10.0, tls=False)(Address(("graph.example", 7687)))

    assert [each.host for each in found] == ["127.0.0.3", "127.0.0.2"]
