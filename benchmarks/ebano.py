"""BatchEBAnO against the forward passes it cannot do without, on this machine's CPU or, with `--device cuda`, its GPU.

    python benchmarks/ebano.py [--json FILE] [--device cuda] [--only ratio,memory,forwards,backends,devices]

For k = 2..5 an explanation needs 15 forwards an image: one of the image, 14 of its perturbations. ratio_* is the wall
time of full explanations over that of those forwards alone, in the same micro-batches of the same process, median of
5. Needs torch, torchvision, numpy and scipy alone (no Ray); faiss, scikit-learn and the data folder add rows where
there are any.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare machine has no installed xal

import numpy as np
import torch
import torch.nn.functional as F
from photos import load_photos, photo_network
from table import arguments, seconds, show, write
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from xal.core.malloc import keep_freed_memory
from xal.errors import ResourceError
from xal.explainers import Ebano
from xal.explainers.ebano.backends import Backend, cluster
from xal.explainers.ebano.hypercolumns import captured, hypercolumns
from xal.explainers.ebano.kmeans import assign
from xal.models import Model, TorchClassifier
from xal.models.torch.convnet import Convnet
from xal.models.torch.torchvision import Torchvision
from xal.types import Explanations

EBANO = Ebano()
FORWARDS = 1 + sum(EBANO.ks)
MODELS: dict[str, tuple[Model, tuple[int, int, int], int, int]] = {  # model, image shape, classes, images
    "resnet50": (Torchvision(architecture="resnet50"), (3, 224, 224), 1000, 16),
    "resnet18": (Torchvision(architecture="resnet18"), (3, 224, 224), 1000, 32),
    "convnet": (Convnet(), (1, 28, 28), 10, 1024),
}


@cache
def classifier(name: str, device: str, **options: object) -> tuple[TorchClassifier, str]:
    """A network, and whose weights it has: ImageNet's for ResNet-50 where the data folder is, else random ones."""
    if name == "resnet50":
        try:
            return photo_network(device, **options), "ImageNet"
        except FileNotFoundError:
            pass
    model, shape, classes, _ = MODELS[name]
    return TorchClassifier(model, model.create(shape, classes, seed=0), device, **options), "random"  # type: ignore[arg-type]


@cache
def pictures(name: str, device: str, count: int) -> Tensor:
    """uint8 images: photos for 224 pixels where the data folder is, else smooth noise."""
    shape = MODELS[name][1]
    if shape[1] == 224:
        try:
            photos, _ = load_photos(min(count, 300))
            return photos.repeat(-(-count // len(photos)), 1, 1, 1)[:count].to(device)
        except FileNotFoundError:
            pass
    coarse = torch.rand(count, shape[0], 7, 7, generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(coarse, size=shape[1:], mode="bicubic").clamp(0, 255).to(torch.uint8).to(device)


def synchronised(call: Callable[[], object], device: str) -> Callable[[], None]:
    """The call, and the wait until the GPU has done it."""

    def both() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return both


def forwards_alone(net: TorchClassifier, images: Tensor) -> None:
    """All forwards of an explanation in the explainer's own micro-batches, and nothing else."""
    with torch.inference_mode():
        for chunk in images.split(EBANO.forward_size(images)):
            chunk = chunk.to(torch.float32, memory_format=torch.channels_last)
            for _ in range(FORWARDS):
                net.probabilities(chunk)


def stages(net: TorchClassifier, images: Tensor) -> dict[str, float]:
    """Milliseconds an image of each stage, by torch's profiler."""
    gpu = images.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiled:
        EBANO.explain(net, images)
    found = {event.key: event for event in profiled.key_averages() if event.key.startswith("ebano: ")}
    return {
        key.removeprefix("ebano: "): (event.device_time_total if gpu else event.cpu_time_total) / 1e3 / len(images)
        for key, event in found.items()
    }


def ratios(device: str, repeats: int, measures: dict[str, float]) -> None:
    """Full explanations over their forwards, and where the rest goes."""
    rows, shares = [], {}
    for name, (_, shape, _, few) in MODELS.items():
        for precision in ("float32", "bfloat16") if device == "cuda" else ("float32",):
            net, weights = classifier(name, device, precision=precision)
            images = pictures(name, device, few if device == "cpu" else 16 * few)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            calls = {
                "explanation": synchronised(lambda net=net, images=images: EBANO.explain(net, images), device),
                "forwards": synchronised(lambda net=net, images=images: forwards_alone(net, images), device),
            }
            taken = seconds(calls, repeats)
            each = taken["explanation"] / len(images)
            ratio = taken["explanation"] / taken["forwards"]
            suffix = "" if device == "cpu" else f"_{device}_{precision}"
            measures[f"ratio_{name}{suffix}"] = ratio
            if device == "cuda":
                measures[f"peak_gb_{name}{suffix}"] = torch.cuda.max_memory_allocated() / 1e9
            label = f"{name} at {shape[1]}, {weights} weights, {precision}"
            alone = 1e3 * taken["forwards"] / len(images)
            rows.append([label, len(images), 1e3 * each, alone, ratio, 1 / each, 1e6 * each / 3600])
            if precision == "float32":
                shares[name] = stages(net, images)
    columns = ["", "images", "explanation ms", f"{FORWARDS} forwards ms", "ratio", "images/s", "hours for a million"]
    threads = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    show(f"explanations against their forwards alone, an image ({threads})", columns, rows)
    names = list(dict.fromkeys(stage for share in shares.values() for stage in share))
    show(
        "where the time goes, ms an image",
        ["", *shares],
        [[n, *[s.get(n, 0.0) for s in shares.values()]] for n in names],
    )
    for name, share in shares.items():
        for stage, value in share.items():
            measures[f"ms_{name}_{stage.replace(' ', '_').replace('-', '')}"] = value


def memory(device: str, measures: dict[str, float]) -> None:
    """What explaining one micro-batch at 224 needs at its peak beyond the peak of its forwards, in a fresh process."""
    command = [sys.executable, __file__, "--device", device, "--peaks"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    count, alone, explained = int(printed[-3]), float(printed[-2]), float(printed[-1])
    measures["extra_mb_per_image"] = (explained - alone) / count
    rows = [["forwards alone", alone], ["explanation", explained], ["extra an image", measures["extra_mb_per_image"]]]
    show(f"peak memory of {count} images, ResNet-50 at 224", ["", "MB"], rows)


def peaks(device: str) -> None:
    """Print (images, MB at the peak of their forwards, MB at the peak of explaining them)."""
    net, _ = classifier("resnet50", device)
    images = pictures("resnet50", device, EBANO.forward_size(torch.empty(1, 3, 224, 224, device=device)))
    found = []
    for call in (forwards_alone, forwards_alone, EBANO.explain):  # the first time fills the allocator
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: resets VmHWM
        call(net, images)
        status = Path("/proc/self/status").read_text(encoding="ascii")
        resident = int(status.split("VmHWM:")[1].split()[0]) * 1024
        found.append((torch.cuda.max_memory_allocated() if device == "cuda" else resident) / 1e6)
    print(len(images), *found[1:])


def agreement(ours: Explanations, reference: Explanations) -> dict[str, float]:
    """How far explanations are from others of the same images: masks, best k, and nPIR of the strongest feature."""
    each = np.arange(len(ours))
    gaps = np.abs(ours.npir[each, ours.top_feature] - reference.npir[each, reference.top_feature])
    same_k = ours.n_features == reference.n_features
    pixels = (ours.segments == reference.segments).mean((1, 2))[same_k]
    return {
        "same masks": float(((ours.segments == reference.segments).all((1, 2)) & same_k).mean()),
        "same k": float(same_k.mean()),
        "pixels alike, if so": float(pixels.mean()) if len(pixels) else float("nan"),
        "nPIR of fmax moves, median": float(np.median(gaps)),
        "90%": float(np.quantile(gaps, 0.9)),
    }


class ChannelsFirst(TorchClassifier):
    """The same network with weights and inputs in torch's usual layout."""

    def __init__(self, net: TorchClassifier) -> None:
        super().__init__(net.model, copy.deepcopy(net.module), str(net.device))
        self.module.to(memory_format=torch.contiguous_format)

    def probabilities(self, images: Tensor) -> Tensor:
        """Of images in either layout."""
        return super().probabilities(images.contiguous())


def cheaper_forwards(device: str, repeats: int, measures: dict[str, float]) -> None:
    """What lowers the cost of a forward, and what it does to the explanations."""
    rows = []
    for name in ("resnet50", "resnet18"):
        images = pictures(name, device, MODELS[name][3])
        nets = {"float32, channels last": classifier(name, device)[0]}
        reference = EBANO.explain(nets["float32, channels last"], images)
        nets["float32, channels first"] = ChannelsFirst(nets["float32, channels last"])
        nets["bfloat16 autocast"] = classifier(name, device, precision="bfloat16")[0]
        if name == "resnet18" or device == "cuda":
            nets["float32, compiled"] = classifier(name, device, compiled=True)[0]
        chunk = images[: EBANO.forward_size(images)].to(torch.float32, memory_format=torch.channels_last)
        calls = {
            kind: synchronised(lambda net=net, chunk=chunk: _forward(net, chunk), device) for kind, net in nets.items()
        }
        taken = seconds(calls, repeats)
        for kind, net in nets.items():
            found = agreement(EBANO.explain(net, images), reference)
            rows.append([f"{name}, {kind}", 1e3 * taken[kind] / len(chunk), *found.values()])
            columns = ["", "forward ms an image", *found]
            if kind.startswith("bfloat16"):
                measures[f"bfloat16_npir_change_median_{name}"] = found["nPIR of fmax moves, median"]
        measures[f"bfloat16_speedup_{name}"] = taken["float32, channels last"] / taken["bfloat16 autocast"]
        measures[f"channels_last_speedup_{name}"] = taken["float32, channels first"] / taken["float32, channels last"]
    show("cheaper forwards, and what they do to explanations", columns, rows)


@torch.inference_mode()
def _forward(net: TorchClassifier, chunk: Tensor) -> None:
    net.probabilities(chunk)


def backends(device: str, measures: dict[str, float]) -> None:
    """The k-means of the explainer, and what the outside libraries need for the same pixels."""
    net, weights = classifier("resnet50", device)
    images = pictures("resnet50", device, 8)
    with torch.inference_mode():
        with captured(net.module, net.conv_layers()[-3:]) as activations:
            net.probabilities(images.float())
        vectors = hypercolumns(list(activations.values()), (224, 224)).vectors
    everywhere = vectors.flatten(2)
    grid = vectors[:, :, ::4, ::4].flatten(2)
    cases: list[tuple[str, Tensor, Backend, int, int]] = [
        ("ours, 56 x 56 grid, 10 restarts", grid, "torch", EBANO.restarts, EBANO.iterations),
        ("ours, all pixels, 10 restarts", everywhere, "torch", EBANO.restarts, EBANO.iterations),
        ("faiss, 56 x 56 grid, 10 restarts", grid, "faiss", 10, 60),
        ("faiss, all pixels, 1 run of 100 (thesis)", everywhere, "faiss", 1, 100),
        ("scikit-learn, 56 x 56 grid, 10 restarts", grid, "sklearn", 10, 60),
        ("scikit-learn, all pixels, 10 restarts (Express)", everywhere, "sklearn", 10, 300),
    ]
    inertias, times = {}, {}
    for label, points, backend, restarts, iterations in cases:
        try:
            cluster(points[:1], [2], backend, 1, 1, 0)  # imports, and warms up
        except ResourceError as error:
            print(f"left out: {label}: {error}")
            continue
        started = perf_counter()
        found = cluster(points, EBANO.ks, backend, restarts, iterations, 0)
        if device == "cuda":
            torch.cuda.synchronize()
        times[label] = (perf_counter() - started) / len(images)
        inertias[label] = np.array([_inertia(everywhere, each.centres) for each in found])
    least = np.min(list(inertias.values()), axis=0)
    rows = [[label, 1e3 * times[label], f"{np.median(inertias[label] / least):.5f}"] for label in times]
    show(
        f"k-means for k = 2..5, ResNet-50 with {weights} weights", ["", "ms an image", "inertia / least, median"], rows
    )
    ours = times["ours, 56 x 56 grid, 10 restarts"]
    for key, label in (("faiss", "faiss, all pixels, 1 run of 100 (thesis)"), ("sklearn", cases[-1][0])):
        if label in times:
            measures[f"kmeans_{key}_vs_ours"] = times[label] / ours


def _inertia(points: Tensor, centres: Tensor) -> np.ndarray:
    labels = assign(points, centres)
    nearest = centres.mT.take_along_dim(labels[:, None], 2)
    return (points - nearest).square().sum((1, 2), dtype=torch.float64).cpu().numpy()


def devices(measures: dict[str, float]) -> None:
    """The same explanations on the CPU and on the GPU."""
    images = pictures("resnet50", "cpu", 64)
    on_cpu = EBANO.explain(classifier("resnet50", "cpu")[0], images)
    on_gpu = EBANO.explain(classifier("resnet50", "cuda")[0], images.cuda())
    found = agreement(on_gpu, on_cpu)
    measures |= {"gpu_same_masks": found["same masks"], "gpu_npir_change_median": found["nPIR of fmax moves, median"]}
    show("GPU against CPU", ["", *found], [["64 images", *found.values()]])


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", help="parts, comma-separated: ratio, memory, forwards, backends, devices")
    parser.add_argument("--peaks", action="store_true", help="(what the memory part runs in a process of its own)")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(2)
        keep_freed_memory()  # as scoring processes do
    if options.peaks:
        peaks(options.device)
        return
    measures: dict[str, float] = {}
    parts = {
        "ratio": lambda: ratios(options.device, options.repeats, measures),
        "memory": lambda: memory(options.device, measures),
        "forwards": lambda: cheaper_forwards(options.device, options.repeats, measures),
        "backends": lambda: backends(options.device, measures),
        "devices": lambda: devices(measures),
    }
    if not torch.cuda.is_available():
        del parts["devices"]
    chosen = options.only.split(",") if options.only else list(parts)
    absent = [part for part in chosen if part not in parts]
    if absent:
        parser.error(f"--only {','.join(absent)}: choose from {','.join(parts)} (devices needs a GPU)")
    for part in chosen:
        parts[part]()
    print()
    write(options.json, measures)


if __name__ == "__main__":
    main()
