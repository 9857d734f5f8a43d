import asyncio
import json

from quickalign.api import sse
from quickalign.api.metrics import Metrics
from quickalign.api.streams import Batch, Streams
from quickalign.core.errors import NotFoundError
from quickalign.sdk.sse import events


def read(body):
    return list(events([body]))


def test_encoding_survives_every_line_end():
    found = read(sse.encode("a\nb\r\nc\rd", event="x", identity=3))
    assert [(one.kind, one.data, one.id) for one in found] == [("x", "a\nb\nc\nd", "3")]


def test_where_a_stream_begins():
    assert sse.start_of(None, 5) == 5
    assert sse.start_of("7", 5) == 7
    for nonsense in ("x", "", "-1", "1.5", "²"):
        assert sse.start_of(nonsense, 5) == 5
    assert sse.start_of("9" * 50, 5) == 2**53


def test_a_finished_job_is_told_whole(client, finished):
    address = f"/api/v1/jobs/{finished}"
    answer = client.get(f"{address}/events/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = read(answer.content)
    assert told[-1].kind == "end"
    paged = client.get(f"{address}/events").json()["items"]
    assert [json.loads(one.data) for one in told[:-1]] == paged
    log = read(client.get(f"{address}/logs/stream").content)
    assert "".join(json.loads(one.data)["text"] for one in log[:-1]) == client.get(f"{address}/logs").json()["text"]
    metrics = read(client.get(f"{address}/metrics/stream").content)
    assert [json.loads(one.data)["step"] for one in metrics[:-1]] == [1, 2, 3, 4, 5, 6]
    assert [one.id for one in metrics[:-1]] == ["1", "2", "3", "4", "5", "6"]


def test_streams_go_on_where_they_were(client, finished):
    address = f"/api/v1/jobs/{finished}"
    told = read(client.get(f"{address}/metrics/stream", params={"offset": 4}).content)
    assert [json.loads(one.data)["step"] for one in told[:-1]] == [5, 6]
    told = read(client.get(f"{address}/metrics/stream", headers={"Last-Event-ID": "5"}).content)
    assert [json.loads(one.data)["step"] for one in told[:-1]] == [6]
    told = read(client.get(f"{address}/events/stream", params={"after": 3}).content)
    assert json.loads(told[0].data)["sequence"] == 4
    whole = client.get(f"{address}/logs").json()["text"]
    told = read(client.get(f"{address}/logs/stream", params={"offset": 7}).content)
    assert "".join(json.loads(one.data)["text"] for one in told[:-1]) == whole[7:]


def test_beyond_the_end_there_is_only_the_end(client, finished):
    for what, name in (("events", "after"), ("logs", "offset"), ("metrics", "offset")):
        told = read(client.get(f"/api/v1/jobs/{finished}/{what}/stream", params={name: 1_000_000}).content)
        assert [one.kind for one in told] == ["end"]


def test_streams_of_no_job(client):
    for what in ("events", "logs", "metrics"):
        assert client.get(f"/api/v1/jobs/job-none/{what}/stream").status_code == 404
    assert client.head("/api/v1/jobs/job-none/logs/stream").status_code == 405


class Log:
    """A growing text, read as jobs' logs are; counts how often it was looked at."""

    def __init__(self, step=3):
        self.text, self.over, self.reads, self.step = "", False, 0, step

    def read(self, position):
        self.reads += 1
        text = self.text[position : position + self.step]
        following = position + len(text)
        return Batch(position, following, text.encode(), self.over and following >= len(self.text))


def heard(chunks):
    return "".join(chunk.decode() for chunk in chunks if chunk != sse.HEARTBEAT and b"event: end" not in chunk)


async def collect(streams, log, position=0):
    return heard([chunk async for chunk in streams.follow(("log",), log.read, position)])


def test_many_followers_share_one_watcher(platform):
    async def scenario():
        log, streams = Log(), Streams(Metrics(platform))
        followers = [asyncio.create_task(collect(streams, log)) for _ in range(200)]
        await asyncio.sleep(0.1)
        before = log.reads
        await asyncio.sleep(0.7)
        idle = log.reads - before
        for word in ("one ", "two ", "three ", "four"):
            log.text += word
            await asyncio.sleep(0.05)
        log.over = True
        found = await asyncio.wait_for(asyncio.gather(*followers), 20)
        assert set(found) == {"one two three four"}
        assert idle < 10
        return streams

    streams = asyncio.run(scenario())
    assert streams._topics == {}


def test_followers_at_different_places_all_get_their_rest(platform):
    async def scenario():
        log, streams = Log(step=5), Streams(Metrics(platform))
        places = [0, 1, 7, 50, 100_000, 3]
        followers = []
        for place in places:
            followers.append(asyncio.create_task(collect(streams, log, place)))
            log.text += "0123456789" * 2
            await asyncio.sleep(0.03)
        log.text += "end"
        await asyncio.sleep(0.3)
        log.over = True
        found = await asyncio.wait_for(asyncio.gather(*followers), 20)
        assert found == [log.text[place:] for place in places]

    asyncio.run(scenario())


def test_a_follower_that_leaves_stops_the_watcher(platform):
    async def scenario():
        log, metrics = Log(), Metrics(platform)
        streams = Streams(metrics)
        follower = asyncio.create_task(collect(streams, log))
        await asyncio.sleep(0.05)
        assert b"quickalign_followers 1.0" in metrics.text()
        follower.cancel()
        await asyncio.sleep(0.05)
        seen = log.reads
        await asyncio.sleep(0.5)
        assert log.reads == seen
        assert b"quickalign_followers 0.0" in metrics.text()

    asyncio.run(scenario())


def test_the_end_of_the_server_ends_streams_without_their_end(platform):
    async def scenario():
        log, streams = Log(), Streams(Metrics(platform))
        chunks = []

        async def follow():
            async for chunk in streams.follow(("log",), log.read, 0):
                chunks.append(chunk)  # noqa: PERF401 - seen while it grows

        follower = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        streams.close()
        await asyncio.wait_for(follower, 2)
        assert not any(b"event: end" in chunk for chunk in chunks)

    asyncio.run(scenario())


def test_a_job_deleted_while_it_is_followed(platform):
    async def scenario():
        log, streams = Log(), Streams(Metrics(platform))

        def gone(position):
            if log.over:
                raise NotFoundError("gone")
            return log.read(position)

        chunks = []

        async def follow():
            async for chunk in streams.follow(("log",), gone, 0):
                chunks.append(chunk)  # noqa: PERF401 - seen while it grows

        follower = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        log.over = True
        await asyncio.wait_for(follower, 5)
        assert b"event: end" in chunks[-1]

    asyncio.run(scenario())
