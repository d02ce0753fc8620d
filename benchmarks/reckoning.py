"""docs/scaling.md from the measures of scale.py: what a hundred million items cost, arithmetic shown."""

import os

from table import markdown

TEXT = """# A hundred million items

Written by `python benchmarks/scale.py --markdown docs/scaling.md` on {machine}. No GPU was there: what a GPU
does an item is an assumption below, named r; all else is measured.

## Measured

{measured}

## What a pass takes

A pass runs as fast as the slowest of four parts that work side by side:

| part | items a second | measured here |
| --- | --- | ---: |
| forwards | N GPUs x r | r = {forward_rate:,.0f} for a core of this machine and the convnet |
| reading and decoding | C cores / {read_us:.0f} us | {read_rate:,.0f} a core{photo_rate} |
| the driver (hands out units, merges top-k) | 1 / {driver_us:.2f} us | {driver_rate:,.0f} |
| storage | bandwidth / {bytes_an_image:.0f} bytes | {storage_rate:,.0f} at 1 GB/s{photo_storage} |

Its memory is flat, the driver's too ({driver_growth_mb:.0f} MB more for 1,000,000 items than for 250,000), and its
time is linear ({time_1m_over_250k:.2f} times that of a quarter). On this machine as it is, 100 million such images are
100,000,000 / {items_per_s:,.0f} = {hours:.1f} hours.

## On N GPUs

For 100,000,000 items: hours = 100,000,000 / (N r) / 3600, cores to decode = N r x seconds an item, share of the
driver's one core = N r x {driver_us:.2f} us, storage = N r x bytes.

{table}

## Which part saturates first

{first}

Before a pass the driver reads all footers: {open_s:.1f} s for 100 million. The ids to leave out travel to each reading
process once.
"""


def reckoning(m: dict[str, float]) -> str:
    """docs/scaling.md; needs all parts."""
    kinds = [("image of 28 px", m["read_us"], m["bytes_an_image"], (10_000, 100_000))]
    if "photo_read_us" in m:
        kinds.append(("photo to 224 px", m["photo_read_us"], m["bytes_a_photo"], (300, 3_000)))
    rows: list[list[object]] = []
    first = []
    for kind, read_us, size, rates in kinds:
        for r in rates:
            for n in (1, 8, 64):
                rate = n * r
                row = [kind, f"{r:,}", n, f"{1e8 / rate / 3600:,.2f}", f"{rate * read_us / 1e6:,.1f}"]
                rows.append([*row, f"{rate * m['driver_us'] / 1e6:.1%}", f"{rate * size / 1e6:,.0f} MB/s"])
        cores = 1e6 / (m["driver_us"] * (1e6 / read_us))
        first.append(
            f"- {kind}: decoding, where a GPU has fewer than r x {read_us:,.0f} us cores beside it "
            f"({', '.join(f'{r * read_us / 1e6:,.1f} for r = {r:,}' for r in rates)}). The driver is next, at "
            f"{1e6 / m['driver_us']:,.0f} items a second, which {cores:,.0f} decoding cores would feed."
        )
    columns = ["item", "r, items/s a GPU", "N", "hours", "cores to decode", "driver", "storage"]
    photos = "photo_read_us" in m
    return TEXT.format(
        machine=f"{os.cpu_count()} cores",
        measured=markdown(["measure", "value"], list(m.items())).strip(),
        table=markdown(columns, rows).strip(),
        first="\n".join(first),
        forward_rate=1e6 / m["forward_us"],
        read_rate=1e6 / m["read_us"],
        photo_rate=f", {1e6 / m['photo_read_us']:,.0f} photos" if photos else "",
        driver_rate=1e6 / m["driver_us"],
        storage_rate=1e9 / m["bytes_an_image"],
        photo_storage=f", {1e9 / m['bytes_a_photo']:,.0f} photos" if photos else "",
        hours=1e8 / m["items_per_s"] / 3600,
        open_s=100 * m["open_s_per_million"],
        **{k: m[k] for k in ("read_us", "driver_us", "bytes_an_image", "driver_growth_mb", "time_1m_over_250k")},
        items_per_s=m["items_per_s"],
    )
