"""Writes docs/scaling.md from the measures of scale.py: the cost of a hundred million items, with its arithmetic."""

import os

from table import markdown

from xal.engine.engine import SHARDS_PER_SLOT, shard_batches
from xal.engine.ray.engine import RayEngine

CORES, BANDWIDTH = 12, 1e9
"""Assumptions: CPU cores per GPU, and bytes per second of storage for the whole cluster."""

TEXT = """# A hundred million items

Written by `python benchmarks/scale.py --markdown docs/scaling.md` on {machine} cores without a GPU. The first table
holds the measures. The rest assumes r, the items per second that one GPU scores or explains, {cores} CPU cores per GPU,
and storage of {bandwidth:,.0f} GB/s for the cluster. Replace these with your own numbers.

## Measured

{measured}

Up to 1,000,000 images, the driver's memory is constant ({driver_growth_mb:.0f} MB more than for 250,000), and time is
linear ({time_1m_over_250k:.2f} times that of a quarter). On this machine, 100 million such images take
100,000,000 / {items_per_s:,.0f} per second = {hours:.1f} hours. The rest is calculated from these measures; no larger
pool of images was run.

## Cost per item

{per_item}

- reading and decoding: measured, on one core.
- driver: {idle:.1%} of one core during a pass, which is the extra cost of a pass four times as long with as many
  shards, and {shard_ms:.2f} ms per shard, which is the rest. Shards grow with the pool, until each slot has {per_slot}
  of them or a shard decodes to 64 MiB: with 100 million items on 64 GPUs, a shard holds {shard_sizes}.
- storage: bytes of the pool / items. Object store: the decoded pixels, which go from readers to actors, through shared
  memory on the same node, and through the network between nodes.

## On N GPUs

hours = 100,000,000 / (N r) / 3600; cores = N r x reading and decoding; driver = {idle:.1%} + N r x its time, of one
core; storage = N r x bytes; object store = N r x decoded bytes.

{table}

## Which part saturates first

{first}

Before a pass, the driver reads all footers, which takes {open_s:.1f} s for 100 million images of 28 px (in row groups
of {group:.0f}). Photos have row groups of 16, so it takes {photo_open_s:.0f} s and reads some gigabytes of footers,
which do not stay in memory. The ids to exclude are sent to each reading process once per pass.
"""


def shard_size(items: int, item_bytes: int, slots: int | None = None) -> int:
    """Number of items per shard of a pool; slots: by default the engine's number of actors."""
    engine = RayEngine()
    return engine.batch * shard_batches(items, engine.batch, slots or engine.actors, item_bytes)


def reckoning(m: dict[str, float]) -> str:
    """The text of docs/scaling.md; needs the measures of all parts and of photos."""
    shard_s, idle = 1e-3 * m["driver_shard_ms"], m["driver_idle"]
    kinds = []
    for kind, key, pixels, rates in (
        ("image of 28 px", ("read_us", "bytes_an_image"), 28 * 28, (10_000, 100_000)),
        ("photo to 224 px", ("photo_read_us", "bytes_a_photo"), 3 * 224 * 224, (300, 3_000)),
    ):
        size = shard_size(10**8, pixels, 64)
        kinds.append((kind, m[key[0]] * 1e-6, size, shard_s / size, m[key[1]], pixels, rates))
    per_item = [
        [kind, f"{1e6 * read:,.0f}", f"{1e6 * driver:.3f}", f"{stored:,.0f}", f"{pixels:,}"]
        for kind, read, _, driver, stored, pixels, _ in kinds
    ]
    rows, first = [], []
    for kind, read, _, driver, stored, pixels, rates in kinds:
        for r in rates:
            for n in (1, 8, 64):
                rate = n * r
                cells = [
                    kind,
                    f"{r:,}",
                    n,
                    f"{1e8 / rate / 3600:,.2f}",
                    f"{rate * read:,.1f}",
                    f"{idle + rate * driver:.1%}",
                ]
                rows.append([*cells, f"{rate * stored / 1e6:,.0f} MB/s", f"{rate * pixels / 1e6:,.0f} MB/s"])
            limits = {"storage": BANDWIDTH / (r * stored), "the driver": (1 - idle) / max(r * driver, 1e-12)}
            part = min(limits, key=lambda name: limits[name])
            other = next(name for name in limits if name != part)
            enough = "are enough" if r * read <= CORES else "are not enough: **decoding is first**, at N = 1"
            first.append(
                f"- {kind}, r = {r:,}: {CORES} cores per GPU {enough} (it takes {r:,} x {1e6 * read:,.0f} us = "
                f"{r * read:,.1f}). Then {part}, at N = {limits[part]:,.1f}; {other} at N = {limits[other]:,.1f}."
            )
    item_columns = ["item", "reading and decoding, us", "driver, us", "storage, bytes", "object store, bytes"]
    columns = ["item", "r", "N", "hours", "cores", "driver", "storage", "object store"]
    group = 2**15 / m["bytes_an_image"]
    return TEXT.format(
        machine=os.cpu_count(),
        cores=CORES,
        bandwidth=BANDWIDTH / 1e9,
        measured=markdown(["measure", "value"], list(m.items())).strip(),
        per_item=markdown(item_columns, per_item).strip(),
        table=markdown(columns, rows).strip(),
        first="\n".join(first),
        shard_ms=1e3 * shard_s,
        idle=idle,
        per_slot=SHARDS_PER_SLOT,
        shard_sizes=", or ".join(f"{size:,} items ({kind})" for kind, _, size, *_ in kinds),
        hours=1e8 / m["items_per_s"] / 3600,
        open_s=100 * m["open_s_per_million"],
        photo_open_s=100 * m["open_s_per_million"] * group / 16,
        group=group,
        **{name: m[name] for name in ("driver_growth_mb", "time_1m_over_250k", "items_per_s")},
    )
