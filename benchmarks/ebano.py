"""Time of BatchEBAnO relative to the forward passes that it needs, on the CPU or, with `--device cuda`, the GPU.

    python benchmarks/ebano.py [--json FILE] [--device cuda] [--only ratio,memory,forwards,backends,devices]

For k = 2..5, an explanation needs 15 forward passes per image: one of the image and 14 of its perturbations. ratio_* is
the wall time of explanations divided by that of their forward passes alone, in the same micro-batches and process,
median of 5. It needs only torch, torchvision, numpy and scipy (no Ray); faiss, scikit-learn and the data folder add
rows if present.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))  # the machine may not have xal installed

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
    """A network and the name of its weights: ImageNet for ResNet-50 if there is a data folder, else random."""
    if name == "resnet50":
        try:
            return photo_network(device, **options), "ImageNet"
        except FileNotFoundError:
            pass
    model, shape, classes, _ = MODELS[name]
    return TorchClassifier(model, model.create(shape, classes, seed=0), device, **options), "random"  # type: ignore[arg-type]


@cache
def pictures(name: str, device: str, count: int) -> Tensor:
    """uint8 images: photos for 224 pixels if there is a data folder, else smooth noise."""
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
    """A function that runs the call and waits for the GPU to finish."""

    def run() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def forwards_alone(net: TorchClassifier, images: Tensor) -> None:
    """Run only the forward passes of explanations, in the explainer's micro-batches."""
    with torch.inference_mode():
        for chunk in images.split(EBANO.forward_size(images)):
            chunk = chunk.to(torch.float32, memory_format=torch.channels_last)
            for _ in range(FORWARDS):
                net.probabilities(chunk)


def stages(net: TorchClassifier, images: Tensor) -> dict[str, float]:
    """Milliseconds per image of each stage, from torch's profiler."""
    gpu = images.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiled:
        EBANO.explain(net, images)
    events = {event.key: event for event in profiled.key_averages() if event.key.startswith("ebano: ")}
    return {
        key.removeprefix("ebano: "): (event.device_time_total if gpu else event.cpu_time_total) / 1e3 / len(images)
        for key, event in events.items()
    }


def ratios(device: str, repeats: int, measures: dict[str, float]) -> None:
    """Time of explanations relative to their forward passes, and the time of each stage."""
    rows, shares = [], {}
    for name, (_, shape, _, n_images) in MODELS.items():
        for precision in ("float32", "bfloat16") if device == "cuda" else ("float32",):
            net, weights = classifier(name, device, precision=precision)
            images = pictures(name, device, n_images if device == "cpu" else 16 * n_images)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            calls = {
                "explanation": synchronised(lambda net=net, images=images: EBANO.explain(net, images), device),
                "forwards": synchronised(lambda net=net, images=images: forwards_alone(net, images), device),
            }
            times = seconds(calls, repeats)
            per_image = times["explanation"] / len(images)
            ratio = times["explanation"] / times["forwards"]
            suffix = "" if device == "cpu" else f"_{device}_{precision}"
            measures[f"ratio_{name}{suffix}"] = ratio
            if device == "cuda":
                measures[f"peak_gb_{name}{suffix}"] = torch.cuda.max_memory_allocated() / 1e9
            label = f"{name} at {shape[1]}, {weights} weights, {precision}"
            alone = 1e3 * times["forwards"] / len(images)
            rows.append([label, len(images), 1e3 * per_image, alone, ratio, 1 / per_image, 1e6 * per_image / 3600])
            if precision == "float32":
                shares[name] = stages(net, images)
    columns = ["", "images", "explanation ms", f"{FORWARDS} forwards ms", "ratio", "images/s", "hours for a million"]
    threads = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    show(f"explanations and their forward passes alone, per image ({threads})", columns, rows)
    names = list(dict.fromkeys(stage for share in shares.values() for stage in share))
    show(
        "stages, ms per image",
        ["", *shares],
        [[n, *[s.get(n, 0.0) for s in shares.values()]] for n in names],
    )
    for name, share in shares.items():
        for stage, value in share.items():
            measures[f"ms_{name}_{stage.replace(' ', '_').replace('-', '')}"] = value


def memory(device: str, measures: dict[str, float]) -> None:
    """Extra peak memory of explaining one micro-batch at 224 px over its forward passes, in a new process."""
    command = [sys.executable, __file__, "--device", device, "--peaks"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    count, alone, explained = int(printed[-3]), float(printed[-2]), float(printed[-1])
    measures["extra_mb_per_image"] = (explained - alone) / count
    rows = [["forwards alone", alone], ["explanation", explained], ["extra per image", measures["extra_mb_per_image"]]]
    show(f"peak memory of {count} images, ResNet-50 at 224", ["", "MB"], rows)


def peaks(device: str) -> None:
    """Print the number of images, and the peak MB of their forward passes and of their explanations."""
    net, _ = classifier("resnet50", device)
    images = pictures("resnet50", device, EBANO.forward_size(torch.empty(1, 3, 224, 224, device=device)))
    peak_mb = []
    for call in (forwards_alone, forwards_alone, EBANO.explain):  # the first call fills the allocator
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: resets VmHWM
        call(net, images)
        status = Path("/proc/self/status").read_text(encoding="ascii")
        resident = int(status.split("VmHWM:")[1].split()[0]) * 1024
        peak_mb.append((torch.cuda.max_memory_allocated() if device == "cuda" else resident) / 1e6)
    print(len(images), *peak_mb[1:])


def agreement(ours: Explanations, reference: Explanations) -> dict[str, float]:
    """Agreement of two explanations of the same images: masks, best k, and nPIR of the top feature."""
    rows = np.arange(len(ours))
    gaps = np.abs(ours.npir[rows, ours.top_feature] - reference.npir[rows, reference.top_feature])
    same_k = ours.n_features == reference.n_features
    pixels = (ours.segments == reference.segments).mean((1, 2))[same_k]
    return {
        "same masks": float(((ours.segments == reference.segments).all((1, 2)) & same_k).mean()),
        "same k": float(same_k.mean()),
        "same pixels, if same k": float(pixels.mean()) if len(pixels) else float("nan"),
        "nPIR change of top feature, median": float(np.median(gaps)),
        "90%": float(np.quantile(gaps, 0.9)),
    }


class ChannelsFirst(TorchClassifier):
    """The same network with weights and inputs in torch's usual layout."""

    def __init__(self, net: TorchClassifier) -> None:
        super().__init__(net.model, copy.deepcopy(net.module), str(net.device))
        self.module.to(memory_format=torch.contiguous_format)

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities of images in either layout."""
        return super().probabilities(images.contiguous())


def cheaper_forwards(device: str, repeats: int, measures: dict[str, float]) -> None:
    """Faster forward passes, and how they change the explanations."""
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
        times = seconds(calls, repeats)
        for kind, net in nets.items():
            agreed = agreement(EBANO.explain(net, images), reference)
            rows.append([f"{name}, {kind}", 1e3 * times[kind] / len(chunk), *agreed.values()])
            columns = ["", "forward ms per image", *agreed]
            if kind.startswith("bfloat16"):
                measures[f"bfloat16_npir_change_median_{name}"] = agreed["nPIR change of top feature, median"]
        measures[f"bfloat16_speedup_{name}"] = times["float32, channels last"] / times["bfloat16 autocast"]
        measures[f"channels_last_speedup_{name}"] = times["float32, channels first"] / times["float32, channels last"]
    show("faster forward passes, and how they change explanations", columns, rows)


@torch.inference_mode()
def _forward(net: TorchClassifier, chunk: Tensor) -> None:
    net.probabilities(chunk)


def backends(device: str, measures: dict[str, float]) -> None:
    """Time and inertia of the explainer's k-means and of other libraries, on the same pixels."""
    net, weights = classifier("resnet50", device)
    images = pictures("resnet50", device, 8)
    with torch.inference_mode():
        with captured(net.module, net.conv_layers()[-3:]) as activations:
            net.probabilities(images.float())
        vectors = hypercolumns(list(activations.values()), (224, 224)).vectors
    all_pixels = vectors.flatten(2)
    grid = vectors[:, :, ::4, ::4].flatten(2)
    cases: list[tuple[str, Tensor, Backend, int, int]] = [
        ("ours, 56 x 56 grid, 10 restarts", grid, "torch", EBANO.restarts, EBANO.iterations),
        ("ours, all pixels, 10 restarts", all_pixels, "torch", EBANO.restarts, EBANO.iterations),
        ("faiss, 56 x 56 grid, 10 restarts", grid, "faiss", 10, 60),
        ("faiss, all pixels, 1 run of 100 (thesis)", all_pixels, "faiss", 1, 100),
        ("scikit-learn, 56 x 56 grid, 10 restarts", grid, "sklearn", 10, 60),
        ("scikit-learn, all pixels, 10 restarts (Express)", all_pixels, "sklearn", 10, 300),
    ]
    inertias, times = {}, {}
    for label, points, backend, restarts, iterations in cases:
        try:
            cluster(points[:1], [2], backend, 1, 1, 0)  # imports, and warms up
        except ResourceError as error:
            print(f"skipped: {label}: {error}")
            continue
        started = perf_counter()
        clusterings = cluster(points, EBANO.ks, backend, restarts, iterations, 0)
        if device == "cuda":
            torch.cuda.synchronize()
        times[label] = (perf_counter() - started) / len(images)
        inertias[label] = np.array([_inertia(all_pixels, clustering.centres) for clustering in clusterings])
    least = np.min(list(inertias.values()), axis=0)
    rows = [[label, 1e3 * times[label], f"{np.median(inertias[label] / least):.5f}"] for label in times]
    show(
        f"k-means for k = 2..5, ResNet-50 with {weights} weights", ["", "ms per image", "inertia / least, median"], rows
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
    """Agreement of explanations on the CPU and on the GPU."""
    images = pictures("resnet50", "cpu", 64)
    on_cpu = EBANO.explain(classifier("resnet50", "cpu")[0], images)
    on_gpu = EBANO.explain(classifier("resnet50", "cuda")[0], images.cuda())
    agreed = agreement(on_gpu, on_cpu)
    measures |= {
        "gpu_same_masks": agreed["same masks"],
        "gpu_npir_change_median": agreed["nPIR change of top feature, median"],
    }
    show("GPU and CPU", ["", *agreed], [["64 images", *agreed.values()]])


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", help="parts, comma-separated: ratio, memory, forwards, backends, devices")
    parser.add_argument(
        "--peaks", action="store_true", help="(used by the memory part, which runs this in a new process)"
    )
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
    unknown = [part for part in chosen if part not in parts]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: choose from {','.join(parts)} (devices needs a GPU)")
    for part in chosen:
        parts[part]()
    print()
    write(options.json, measures)


if __name__ == "__main__":
    main()
