"""What corrections say stays with the items that they are of."""

import torch

from tests.feedback.confounded import correction_targets


def test_mirrored_images_are_corrected_where_they_then_are() -> None:
    wrong = torch.zeros(2, 1, 3, dtype=torch.bool)
    wrong[:, 0, 0] = True
    flipped = correction_targets(wrong, torch.tensor([0, 1])).flipped(torch.tensor([True, False]))
    assert flipped.wrong[:, 0].tolist() == [[False, False, True], [True, False, False]]


def test_what_is_taken_stays_with_its_item() -> None:
    wrong = torch.eye(4, dtype=torch.bool)
    given = correction_targets(wrong, torch.arange(4), 4, excess=torch.arange(16.0).reshape(4, 4))
    for chosen in (torch.tensor([2, 0]), torch.tensor([True, False, True, False])):
        taken = given.take(chosen)
        for name, values in vars(given).items():
            assert torch.equal(getattr(taken, name), values[chosen]), name
