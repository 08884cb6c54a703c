"""What limits, if batches are smaller than they could be: what closes them early, or allows no larger ones. Pure."""

from spindle.advice import evidence
from spindle.advice.evidence import BUSY, HALF_EMPTY, LATE, QUICK, SMALL_BATCH, needed_in_hand
from spindle.advice.limits import VARIABLES, Finding, Limit, gain_up_to
from spindle.advice.meters import Meters


def of_small_batches(meters: Meters) -> Finding | None:
    """What keeps batches so small that beginning and committing takes most of the time; None if they are not.

    Small ones that take long are no such: the service has made them small, because the store is slow.
    """
    size = meters.batch if meters.size is None else meters.size
    if size > SMALL_BATCH or (meters.transaction or 0.0) > QUICK:
        return None
    # First what keeps them from being as large as they may: they may be larger again once more gets into them.
    early = of_half_empty_batches(meters)
    if early is not None or meters.batch > SMALL_BATCH or _is_half_empty(meters):
        return early
    return _of_small_limit(meters)


def of_half_empty_batches(meters: Meters) -> Finding | None:
    """More waits, and does not get into the batches; None if they are full, or if our own process is too late."""
    if meters.fill is None:
        return None
    if meters.by_bytes > HALF_EMPTY:
        return _of_bytes(meters)
    if not _is_half_empty(meters):
        return None
    if _is_late(meters):
        # What has arrived waits for us; only what RabbitMQ is known not to have sent is kept back by a setting.
        arrived = meters.sent is None or max(meters.sent, meters.unsettled) >= needed_in_hand(meters)
        return None if arrived else _of_prefetch(meters)
    if meters.unsettled >= needed_in_hand(meters):
        return _of_early_closing(meters, meters.fill)
    return _of_network(meters) if evidence.sent(meters).value >= needed_in_hand(meters) else _of_prefetch(meters)


def _is_half_empty(meters: Meters) -> bool:
    return meters.fill is not None and meters.fill < HALF_EMPTY


def _is_late(meters: Meters) -> bool:
    """Whether our own process does not get round to taking what has arrived."""
    return meters.cpu >= BUSY or meters.lag >= LATE


def _of_small_limit(meters: Meters) -> Finding:
    metric = "spindle_batch_size_limit_records"
    return Finding(
        Limit.BATCHES,
        f"transactions of {meters.batch:.0f} records at the most: beginning and committing them takes most of the time",
        meters.writing,
        (
            evidence.evidence_of(meters, "records of a full batch", meters.batch, SMALL_BATCH, metric),
            evidence.writing(meters),
        ),
        (evidence.cpu(meters),),
        f"raise {VARIABLES[meters.service]}_BATCH_SIZE (500 by default), and the prefetch with it if it is set",
        gain=gain_up_to(meters, meters.cpu),
        unseen="how much larger transactions speed this store up",
    )


def _of_bytes(meters: Meters) -> Finding:
    metric = 'spindle_batch_size_records_count{trigger="bytes"}'
    return Finding(
        Limit.BYTES,
        f"{meters.by_bytes:.0%} of the batches are closed by their bytes, not by their number",
        meters.by_bytes,
        (evidence.evidence_of(meters, "share of batches closed by bytes", meters.by_bytes, HALF_EMPTY, metric),),
        evidence.stages(meters),
        "raise BATCH_MAX_BYTES, and SOURCE_MAX_BYTES with it",
        _gain(meters),
    )


def _of_early_closing(meters: Meters, fill: float) -> Finding:
    return Finding(
        Limit.BATCHES,
        f"batches are {fill:.0%} full although more is in hand: something closes them early",
        1 - fill,
        (evidence.fill(meters),),
        (evidence.in_hand(meters), *evidence.stages(meters)),
        f"raise {VARIABLES[meters.service]}_BATCH_FLUSH_INTERVAL; see on the board what closes them",
        _gain(meters),
        unseen="records of one id that follow each other: a batch ends before one that is being written",
    )


def _of_network(meters: Meters) -> Finding:
    fill = meters.fill or 0.0
    return Finding(
        Limit.NETWORK,
        f"the way from RabbitMQ is the limit: of {meters.sent or 0:,.0f} deliveries of a kind that it had sent, "
        f"{meters.unsettled:,.0f} at the most had arrived",
        1 - fill,
        (evidence.sent(meters), evidence.in_hand(meters), evidence.fill(meters)),
        evidence.stages(meters),
        f"run {meters.service} nearer to RabbitMQ, or have more network between them: more prefetch does not help",
        _gain(meters),
        unseen="how much the network can take, and who else uses it",
    )


def _of_prefetch(meters: Meters) -> Finding:
    fill = meters.fill or 0.0
    return Finding(
        Limit.PREFETCH,
        f"batches are {fill:.0%} full although more waits: the prefetch is too small for them",
        1 - fill,
        (evidence.fill(meters), evidence.in_hand(meters)),
        evidence.stages(meters),
        f"raise {VARIABLES[meters.service]}_PREFETCH to (writers + 2) x batch size, or leave it unset",
        _gain(meters),
        unseen="whether the broker is too slow to send more",
    )


def _gain(meters: Meters) -> float:
    return gain_up_to(meters, max(meters.writing, meters.cpu))
