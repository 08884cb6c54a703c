"""`spindle load` waits for the services, but not forever."""

from common.kinds import Service
from common.settings.environment import load
from extractor.settings import ExtractorSettings
from spindle.loading import publishing
from tests.servers.amqp import new_names, peer_of
from tests.servers.servers import RabbitMQ


async def test_waiting_for_queues_that_nobody_empties_ends_and_says_which(
    rabbitmq: RabbitMQ,
) -> None:
    names = new_names()
    settings = load(ExtractorSettings, {"RABBITMQ_URL": rabbitmq.url, "DISCOGS_EXCHANGE_PREFIX": names.prefix})
    full, empty = (names.queue(service, "artists") for service in Service)
    seen: list[int] = []
    async with peer_of(rabbitmq.url) as peer:
        for queue in (full, empty):
            await peer.declare_queue(queue)
        await peer.declare_exchange(names.exchange("artists"))
        await peer.bind(full, names.exchange("artists"))
        await peer.publish(names.exchange("artists"), b"1", b"2", b"3")

        stuck = await publishing.until_drained(settings, ["artists"], seen.append, stalled=1.0)
        await peer.get_all(full)
        drained = await publishing.until_drained(settings, ["artists"], seen.append)
        for queue in (full, empty):
            await peer.delete_queue(queue)
        await peer.delete_exchange(names.exchange("artists"))

    assert (dict(stuck), dict(drained)) == ({full: 3}, {})
    assert set(seen) == {3, 0}
