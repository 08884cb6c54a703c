"""What may be what ends the process: written alone, and said before."""

import structlog

from tests.unit.pipeline.line import Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_what_is_written_alone_is_named_before_and_the_first_of_each_channel_is_an_error() -> None:
    """Ten thousand moved messages were ten thousand lines of alarm."""
    line = Line(size=50)
    line.source.put(*bodies(*range(1, 101)), delivery_count=11)

    with structlog.testing.capture_logs() as logs:
        async with line.running():
            await line.until(line.settled)
            line.source.lose_channel()
            line.source.put(*bodies(*range(101, 111)), delivery_count=12)
            await line.until(line.settled)

    said = [entry for entry in logs if entry["event"].startswith("Record written alone")]
    assert [(each["id"], each["deliveries"]) for each in said if each["log_level"] == "error"] == [
        ("1", 11),
        ("101", 12),
    ]
    assert [each["id"] for each in said] == [str(number) for number in range(1, 111)]
    assert {len(batch) for batch in line.sink.batches} == {1}
