"""Training: it learns, keeps the best weights, repeats itself, and says so when it breaks."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from xal.core.threads import threads
from xal.errors import NumericalError, XalError
from xal.models import TorchModel
from xal.models.torch import training
from xal.models.torch.convnet import Convnet
from xal.models.torch.resnet import ResNet
from xal.models.torch.training import Examples, evaluate_hits, evaluate_loss, fit
from xal.models.train_settings import TrainSettings

SHAPE = (1, 8, 8)
CONVNET, RESNET = Convnet(filters=8, hidden=16), ResNet(width=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As engines do; on shared cores torch's threads wait for each other longer than they work."""
    with threads(1):
        yield


def examples(n=32, seed=0):
    """Two classes that brightness separates."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 100, (n, *SHAPE), generator=generator) + 150 * labels[:, None, None, None]
    return Examples(images=images.to(torch.uint8), labels=labels)


def wrong(given):
    """The same images under the other label: the better the training, the worse the loss."""
    return dataclasses.replace(given, labels=1 - given.labels)


NONE = Examples(images=torch.empty(0, *SHAPE, dtype=torch.uint8), labels=torch.empty(0, dtype=torch.int64))
FAST = TrainSettings(lr=0.01, batch_size=8, epochs=8)


def run(model=CONVNET, train=None, validation=None, settings=FAST, seed=0, **options):
    module = model.create(SHAPE, 2, seed=0)
    train = examples() if train is None else train
    validation = examples(16, seed=1) if validation is None else validation
    return fit(model, module, train, validation, settings, seed=seed, **options), module


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Spy(TorchModel):
    """A linear model that writes down every batch it is given, and whether in training."""

    def build(self, shape, n_classes):
        self.seen.clear()
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n_classes))

    def preprocess(self, images):
        self.seen.append((torch.is_grad_enabled(), images.clone()))
        return super().preprocess(images)

    seen = []  # noqa: RUF012 - emptied by build

    def batches(self, training=True):
        return [images for grad, images in self.seen if grad == training]


@pytest.mark.parametrize("model", [CONVNET, RESNET], ids=["convnet", "resnet"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_separable_images_are_learnt(model, optimizer):
    """A guess has log 2 nats; the held-out images end below half of it."""
    settings = dataclasses.replace(FAST, optimizer=optimizer, lr=0.01 if optimizer == "adam" else 0.05, epochs=15)
    fitted, module = run(model, settings=settings)
    module.load_state_dict(fitted.state)
    assert len(fitted.train_loss) == len(fitted.validation_loss) == 15
    assert fitted.train_loss[-1] < fitted.train_loss[0] / 2
    assert evaluate_loss(model, module, examples(64, seed=2)) < 0.5 * torch.log(torch.tensor(2.0))


def test_evaluate_loss_is_the_mean_negative_log_probability(monkeypatch):
    module, given = CONVNET.create(SHAPE, 2, seed=0).train(), examples(11)
    with torch.no_grad():
        p = torch.softmax(module(given.images.float() / 255), dim=1).double()
    expected = -sum(float(torch.log(p[i, label])) for i, label in enumerate(given.labels)) / 11
    for batch_size in (1, 4, 512):
        monkeypatch.setattr(training, "EVALUATION_PIXELS", batch_size * math.prod(SHAPE[1:]))
        assert evaluate_loss(CONVNET, module, given) == pytest.approx(expected, rel=1e-6)
    assert not module.training


@pytest.mark.parametrize("model", [CONVNET, RESNET], ids=["convnet", "resnet"])
def test_the_weights_kept_are_those_of_the_lowest_validation_loss(model):
    noisy = examples(16, seed=1)
    noisy.labels[:6] = 1 - noisy.labels[:6]  # once the net is sure, six wrong labels cost more every epoch
    fitted, module = run(model, validation=noisy, settings=dataclasses.replace(FAST, lr=0.03, epochs=15))
    losses = fitted.validation_loss
    assert fitted.best_epoch == losses.index(min(losses)) + 1 < 15
    assert evaluate_loss(model, module, noisy) == losses[-1] > min(losses)
    module.load_state_dict(fitted.state)
    assert evaluate_loss(model, module, noisy) == min(losses)


def test_of_equal_validation_losses_the_first_is_kept():
    """A rate so small that no weight moves: every epoch has the loss of the first."""
    fitted, _ = run(settings=TrainSettings(optimizer="sgd", lr=1e-30, epochs=4))
    assert len(set(fitted.validation_loss)) == 1
    assert fitted.best_epoch == 1


def test_without_validation_the_last_weights_are_kept():
    fitted, module = run(validation=NONE)
    assert fitted.validation_loss == () and fitted.best_epoch == FAST.epochs
    assert same(fitted.state, module.state_dict())


def test_the_state_is_a_copy():
    fitted, module = run(validation=NONE)
    before = {name: value.clone() for name, value in fitted.state.items()}
    with torch.no_grad():
        for weights in module.parameters():
            weights.zero_()
    assert same(fitted.state, before)


@pytest.mark.parametrize("flip", [False, True])
def test_the_seed_decides_and_nothing_else(flip):
    settings = dataclasses.replace(FAST, flip=flip, epochs=2)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, _ = run(settings=settings, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again, _ = run(settings=settings, seed=5)
    assert same(one.state, again.state) and one.train_loss == again.train_loss
    other, _ = run(settings=settings, seed=6)
    assert not same(one.state, other.state)


def test_full_batches_against_a_plain_loop():
    """Gradient descent by hand, with the rate cut where the validation loss stalls."""
    lr, factor, epochs = 0.5, 0.25, 9
    train, validation = examples(), wrong(examples(16, seed=1))
    settings = TrainSettings(
        optimizer="sgd", lr=lr, momentum=0, batch_size=64, epochs=epochs, plateau_patience=2, plateau_factor=factor
    )
    fitted, _ = run(Spy(), train, validation, settings)

    module = Spy().create(SHAPE, 2, seed=0)
    losses, held_out, since, decays = [], [], 0, 0
    for _ in range(epochs):
        loss = cross_entropy(module(train.images.float() / 255), train.labels)
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weights in module.parameters():
                weights -= lr * weights.grad
            held_out.append(float(cross_entropy(module(validation.images.float() / 255), validation.labels)))
        losses.append(loss.item())
        since = 0 if held_out[-1] == min(held_out) else since + 1
        if since == 2 and decays < 2:
            lr, since, decays = lr * factor, 0, decays + 1
    assert decays == fitted.decays == 2
    torch.testing.assert_close(torch.tensor(fitted.train_loss), torch.tensor(losses), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.tensor(fitted.validation_loss), torch.tensor(held_out), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("patience", "times", "epochs"), [(1, 2, 9), (1, 0, 9), (1, 5, 4), (3, 2, 9), (3, 2, 6), (None, 2, 9)]
)
def test_the_rate_decays_after_each_patience_and_at_most_so_often(patience, times, epochs):
    """The loss on wrong labels rises from the first epoch on, so epochs - 1 of them wait."""
    settings = dataclasses.replace(FAST, epochs=epochs, plateau_patience=patience, plateau_times=times)
    fitted, _ = run(validation=wrong(examples(16, seed=1)), settings=settings)
    assert fitted.best_epoch == 1
    assert fitted.decays == (0 if patience is None else min(times, (epochs - 1) // patience))


def test_a_falling_loss_does_not_decay():
    fitted, _ = run(settings=dataclasses.replace(FAST, lr=1e-3, epochs=5, plateau_patience=1))
    assert list(fitted.validation_loss) == sorted(fitted.validation_loss, reverse=True)
    assert fitted.decays == 0


def test_fine_tuning_has_its_own_rate_and_epochs():
    own = TrainSettings(lr=0.01, epochs=9, batch_size=8, finetune_lr=0.002, finetune_epochs=3)
    tuned, _ = run(settings=own, finetune=True)
    reference, _ = run(settings=TrainSettings(lr=0.002, epochs=3, batch_size=8))
    assert len(tuned.train_loss) == 3 and same(tuned.state, reference.state)
    plain, _ = run(settings=dataclasses.replace(own, finetune_lr=None, finetune_epochs=None), finetune=True)
    assert same(plain.state, run(settings=TrainSettings(lr=0.01, epochs=9, batch_size=8))[0].state)


def test_fitting_goes_on_from_the_weights_given():
    settings = dataclasses.replace(FAST, optimizer="sgd", lr=1e-30, epochs=1)
    module = CONVNET.create(SHAPE, 2, seed=9)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert same(fit(CONVNET, module, examples(), NONE, settings, seed=0).state, before)


def test_a_loss_that_is_not_finite_is_an_error_with_the_rate():
    settings = TrainSettings(optimizer="sgd", lr=1e30, batch_size=8, epochs=3)
    with pytest.raises(NumericalError, match=r"train\.lr \(1e\+30\)"):
        run(settings=settings)


def test_a_validation_loss_that_is_not_finite_is_an_error_too():
    """One batch, one epoch: the training loss is taken before the step that breaks the weights."""
    settings = TrainSettings(optimizer="sgd", lr=1e38, batch_size=64, epochs=1)
    with pytest.raises(NumericalError, match="loss"):
        run(settings=settings)


@pytest.mark.parametrize("n", [9, 17])
def test_batch_norm_takes_a_last_batch_of_one(n):
    fitted, _ = run(RESNET, train=examples(n), settings=dataclasses.replace(FAST, epochs=2))
    assert all(torch.isfinite(value).all() for value in fitted.state.values())
    assert not same(fitted.state, RESNET.create(SHAPE, 2, seed=0).state_dict())


def test_without_batch_norm_a_last_batch_of_one_is_used():
    spy = Spy()
    run(spy, train=examples(9), validation=NONE, settings=dataclasses.replace(FAST, epochs=1))
    assert sorted(len(batch) for batch in spy.batches()) == [1, 8]


@pytest.mark.parametrize(("n", "batch_size"), [(1, 8), (8, 1)])
def test_batch_norm_with_single_items_alone_is_refused(n, batch_size):
    """Nothing could be learnt from them; to return the random weights as if trained would be a silent fallback."""
    with pytest.raises(XalError, match="batch"):
        run(RESNET, train=examples(n), settings=dataclasses.replace(FAST, batch_size=batch_size, epochs=1))


def rows(images):
    return [image.numpy().tobytes() for image in images]


def test_every_item_is_seen_once_an_epoch_in_another_order():
    spy, given = Spy(), examples()
    run(spy, train=given, validation=NONE, settings=dataclasses.replace(FAST, epochs=2))
    seen = rows(torch.cat(spy.batches()))
    first, second = seen[:32], seen[32:]
    assert sorted(first) == sorted(second) == sorted(rows(given.images))
    assert first != second and first != rows(given.images)


def test_workers_share_out_each_batch():
    """Two workers see halves of the batches that one worker sees."""
    given, settings = examples(), dataclasses.replace(FAST, epochs=1)
    seen = {}
    for rank, workers in [(0, 1), (0, 2), (1, 2)]:
        spy = Spy()
        run(spy, train=given, validation=NONE, settings=settings, rank=rank, workers=workers)
        seen[rank, workers] = spy.batches()
    for whole, one, other in zip(seen[0, 1], seen[0, 2], seen[1, 2], strict=True):
        assert len(one) == len(other) == 4
        assert sorted(rows(whole)) == sorted(rows(one) + rows(other))


def test_flips_mirror_some_images_left_to_right_and_change_no_other_thing():
    spy, given, held_out = Spy(), examples(64), examples(16, seed=1)
    run(spy, train=given, validation=held_out, settings=dataclasses.replace(FAST, flip=True, epochs=1))
    seen = rows(torch.cat(spy.batches()))
    plain, mirrored = set(rows(given.images)), set(rows(given.images.flip(-1)))
    assert not plain & mirrored
    assert all(image in plain | mirrored for image in seen)
    # of 64 fair coins, 10 to 54 fall on one side but for a chance of 1e-8
    assert 10 <= sum(image in mirrored for image in seen) <= 54
    assert rows(torch.cat(spy.batches(training=False))) == rows(held_out.images)


def test_without_flip_no_image_is_mirrored():
    spy, given = Spy(), examples(64)
    run(spy, train=given, validation=NONE, settings=dataclasses.replace(FAST, epochs=1))
    assert set(rows(torch.cat(spy.batches()))) == set(rows(given.images))


def test_progress_counts_the_epochs():
    calls = []
    run(settings=dataclasses.replace(FAST, epochs=3), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_hits_are_of_the_first_items_alone(monkeypatch):
    module, given = CONVNET.create(SHAPE, 2, seed=0), examples(11)
    with torch.no_grad():
        right = (module(given.images.float() / 255).argmax(1) == given.labels).tolist()
    for first, batch_size in [(11, 4), (7, 512), (0, 3)]:
        monkeypatch.setattr(training, "EVALUATION_PIXELS", batch_size * math.prod(SHAPE[1:]))
        assert evaluate_hits(CONVNET, module, given, first) == sum(right[:first])


def test_weights_of_items_are_those_of_the_loss():
    """Of weight 0 an item teaches nothing; all weights alike change nothing."""
    settings = dataclasses.replace(FAST, epochs=2, batch_size=64)
    given, held_out = examples(16), NONE
    silent = dataclasses.replace(
        Examples(images=torch.cat([given.images, given.images]), labels=torch.cat([given.labels, 1 - given.labels])),
        weights=torch.cat([torch.ones(16), torch.zeros(16)]),
    )
    plain, weighted = (run(train=each, validation=held_out, settings=settings)[0] for each in (given, silent))
    torch.testing.assert_close(torch.tensor(plain.train_loss), torch.tensor(weighted.train_loss))
    alike = dataclasses.replace(given, weights=torch.full((16,), 3.0))
    torch.testing.assert_close(
        torch.tensor(run(train=alike, validation=held_out, settings=settings)[0].train_loss),
        torch.tensor(plain.train_loss),
    )


def test_an_equal_loss_is_no_lower_one():
    """A rate so small that no weight moves; torch's scheduler would else take rounding for progress."""
    settings = TrainSettings(optimizer="sgd", lr=1e-30, epochs=6, plateau_patience=2, plateau_times=9)
    assert run(settings=settings)[0].decays == 2


def test_fine_tuning_has_its_own_patience():
    settings = dataclasses.replace(FAST, epochs=7, plateau_patience=6, finetune_plateau_patience=2, plateau_times=9)
    held_out = wrong(examples(16, seed=1))
    assert [run(validation=held_out, settings=settings, finetune=tuned)[0].decays for tuned in (False, True)] == [1, 3]


def test_the_head_alone_is_trained():
    """A linear probe: the rest, batch statistics included, stays as it was; the loss falls all the same."""
    before = RESNET.create(SHAPE, 2, seed=0).state_dict()
    found, module = run(model=RESNET, head_only=True)
    head = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)][-1]
    changed = {name for name, value in found.state.items() if not torch.equal(value, before[name])}
    assert changed == {f"{head}.weight", f"{head}.bias"}
    assert found.train_loss[-1] < found.train_loss[0]
    with pytest.raises(XalError, match="head_only_rounds: this network has no linear layer"):
        fit(CONVNET, nn.Conv2d(1, 2, 8), examples(), NONE, FAST, seed=0, head_only=True)
