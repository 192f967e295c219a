"""Callers of a service, for load tests. They stand in a process of their own, so this knows no torch."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Reply:
    """What one request came to."""

    status: int
    """Of HTTP; 0 where the connection failed or took longer than a minute."""
    seconds: float
    """From sending to the whole answer."""
    answer: dict[str, Any]
    """Empty without status 200."""


def ask(url: str, bodies: Sequence[dict[str, Any]], callers: int) -> tuple[float, list[Reply]]:
    """Post `bodies` to `url`, as JSON; the seconds that all took, and the replies in their order.

    Each of `callers` sends its next request when its last one is answered, over one connection.
    """
    return asyncio.run(_ask(url, bodies, callers))


async def _ask(url: str, bodies: Sequence[dict[str, Any]], callers: int) -> tuple[float, list[Reply]]:
    replies: list[Reply | None] = [None] * len(bodies)
    left = iter(range(len(bodies)))

    async def caller(client: httpx.AsyncClient) -> None:
        for place in left:
            replies[place] = await _reply(client, url, bodies[place])

    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(caller(client) for _ in range(callers)))
        return time.perf_counter() - begun, replies


async def _reply(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Reply:
    begun = time.perf_counter()
    try:
        response = await client.post(url, json=body)
    except httpx.TransportError:
        return Reply(0, time.perf_counter() - begun, {})
    seconds = time.perf_counter() - begun
    return Reply(response.status_code, seconds, response.json() if response.status_code == 200 else {})
