"""The source is away on purpose for as long as anybody has a reason: an operator's pause, or the hold limit."""

from common.delivery import Source


class Absence:
    """Who has it begin has it end. The reasons overlap, and the last one that ends has the source consume again."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reasons = 0

    async def begin(self) -> None:
        """Hand every unsettled delivery back, and consume nothing."""
        self._reasons += 1
        await self._source.hand_back()

    async def end(self) -> bool:
        """Consume again, unless there is another reason. Returns: whether it does."""
        self._reasons -= 1
        if self._reasons:
            return False
        await self._source.resume()
        return True
