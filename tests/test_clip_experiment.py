"""The image classifier of `experiments/clip` is asked as any policy is, and attacks stay within
their bound.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "clip"))
from digits import SEEN, Classifier, ImageTextModel, attacked

from evoprompt.config.sections import FitnessConfig
from evoprompt.fitness.catalog import fitness_of
from evoprompt.policy import Policy
from evoprompt.records import Example


class Known:
    """Features of texts by what they end with: names that mean the same have the same."""

    def features(self, texts: list[str]) -> torch.Tensor:
        same = {"one": 0, "1": 0, "two": 1, "2": 1}
        return torch.eye(2)[[same[text.split()[-1]] for text in texts]]


@pytest.fixture
def model() -> ImageTextModel:
    torch.manual_seed(0)
    return ImageTextModel(2).eval()


def test_images_are_asked_as_policies_are(model: ImageTextModel):
    images = torch.rand(3, 1, 8, 8)
    asked = Classifier(model, Known(), images)
    examples = [Example(str(i), str(i), "one", ("one", "two")) for i in (2, 0)]
    scores = asked.scores(Policy(SEEN), examples)
    assert scores.log_likelihood.shape == (1, 2, 2)
    found = fitness_of(FitnessConfig(), has_choices=True).cases(scores)[0]
    # by hand: the log of the softmax of the scaled cosines, of the images in their places
    with torch.no_grad():
        logits = model(images[[2, 0]], torch.eye(2)).double()
    assert found == pytest.approx(torch.log_softmax(logits, dim=1)[:, 0].numpy(), abs=1e-5)
    # other words that mean the same are the same to it, and exchanged ones exchange the answers
    renamed = Policy(SEEN, label_words=(("one", "1"), ("two", "2")))
    assert np.array_equal(asked.scores(renamed, examples).log_likelihood, scores.log_likelihood)
    turned = Policy(SEEN, label_words=(("one", "2"), ("two", "1")))
    other = asked.scores(turned, examples).log_likelihood
    assert np.array_equal(other[..., ::-1], scores.log_likelihood)


@pytest.mark.parametrize("bound", [0.02, 0.1])
def test_an_attack_keeps_its_bound_and_gets_nearer(model: ImageTextModel, bound: float):
    images, names = torch.rand(5, 1, 8, 8), torch.eye(2)
    towards = torch.tensor([0, 1, 0, 1, 0])
    changed = attacked(model, images, names, towards, bound, 10)
    assert float((changed - images).abs().max()) <= bound + 1e-6
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    with torch.no_grad():
        before, after = (model(x, names).log_softmax(dim=1) for x in (images, changed))
    rows = torch.arange(5)
    assert (after[rows, towards] > before[rows, towards]).all()
    # a power twin: a step the other way makes it less likely
    away = attacked(model, images, names, 1 - towards, bound, 10)
    with torch.no_grad():
        worse = model(away, names).log_softmax(dim=1)
    assert (worse[rows, towards] < before[rows, towards]).all()
