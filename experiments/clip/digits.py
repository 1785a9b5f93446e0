"""Do attacks on images persist when the class names are replaced by words that mean the same?

    python experiments/clip/digits.py

After Fort's observation on CLIP, on a small model of the same kind: images of digits (1,797 of 8 x
8 pixels, which scikit-learn ships) and texts share a space, and an image's class is the name whose
text is nearest. Texts are read by SmolLM2-135M, frozen; a projection of them and a network of the
images are trained by the contrastive loss of CLIP on captions with the digits' words. The
classifier is asked as any policy is: a prompt, label words, and examples with choices give
`LabelScores`. The attack is projected gradient descent on the pixels within a bound on each of them
(Madry et al. 2018), towards another class under its word; then the names are replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from evoprompt.choices import predicted
from evoprompt.jobs.robustness.analysis import persistence_of
from evoprompt.jobs.robustness.record import ATTACK, ATTACKED, NONE, Cell
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores
from evoprompt.scoring.models import resolve_model
from evoprompt.stats.clustered import ClusteredMean

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: What class names are replaced by; the first two kinds are no words of training captions.
NAMES: Mapping[str, Sequence[str]] = {
    "numeral": tuple("0123456789"),
    "description": (
        "the number of nothing at all", "the number before two", "the number after one",
        "the number after two", "the number after three", "the number after four",
        "the number after five", "the number after six", "the number after seven",
        "the last number below ten",
    ),
    "word in another sentence": WORDS,
}  # fmt: skip
CAPTIONS = (
    "a picture of the digit {}", "the number {}", "a handwritten {}", "{}", "somebody wrote {}",
)  # fmt: skip
#: A prompt of training and one that is not.
SEEN, UNSEEN = "a picture of the digit {}", "an image that shows {} in pencil"
TEST, DIMENSIONS = 597, 64


class Texts:
    """Texts -> features: the mean of a frozen language model's last hidden states."""

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = resolve_model("smollm2-135m")
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._known: dict[str, Tensor] = {}

    def features(self, texts: Sequence[str]) -> Tensor:
        """Return features, shape (text, dimension)."""
        for text in texts:
            if text not in self._known:
                with torch.no_grad():
                    ids = self._tokenizer(" " + text, return_tensors="pt").input_ids
                    hidden = self._model(ids).last_hidden_state[0]
                self._known[text] = normalize(hidden[-1] + hidden.mean(dim=0), dim=0)
        return torch.stack([self._known[text] for text in texts])


class ImageTextModel(nn.Module):
    """Images and features of texts in one space."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.GELU(), nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(), nn.Flatten(), nn.Linear(1024, DIMENSIONS),
        )  # fmt: skip
        self.text = nn.Linear(features, DIMENSIONS)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, features: Tensor) -> Tensor:
        """Return scaled cosines, shape (image, text)."""
        a, b = normalize(self.image(images), dim=1), normalize(self.text(features), dim=1)
        return self.scale.exp() * a @ b.T


class Classifier:
    """Asks an image-text model as language models are asked: each choice's word in the prompt.

    An example's input is the place of its image. What stands for a log-likelihood is the scaled
    cosine, of which a softmax over the choices is the model's own probability.
    """

    def __init__(self, model: ImageTextModel, texts: Texts, images: Tensor) -> None:
        self.model, self.texts, self.images = model, texts, images

    def named(self, policy: Policy, choices: Sequence[str]) -> Tensor:
        """Return the features of the choices in the prompt."""
        return self.texts.features([policy.instruction.format(policy.word(c)) for c in choices])

    def scores(self, policy: Policy, examples: Sequence[Example]) -> LabelScores:
        """Return the scores of examples that share their choices."""
        choices = examples[0].candidates
        places = [int(e.input) for e in examples]
        with torch.no_grad():
            logits = self.model(self.images[places], self.named(policy, choices))
        ones = np.ones((1, *logits.shape), dtype=np.int64)
        gold = np.array([e.gold for e in examples])
        ids = tuple(e.example_id for e in examples)
        values = logits.double().numpy()[None]
        return LabelScores((policy.policy_id,), ids, gold, values, ones, ones, ones > 0)


def trained(texts: Texts, images: Tensor, labels: Tensor, seed: int, steps: int) -> ImageTextModel:
    """Return a model trained on captions with the digits' words, by the loss of CLIP: of each batch
    one image a class, so that no caption is another's.
    """
    torch.manual_seed(seed)
    features = torch.stack([texts.features([c.format(w) for w in WORDS]) for c in CAPTIONS])
    model = ImageTextModel(features.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    places = [torch.nonzero(labels == d)[:, 0] for d in range(10)]
    own = torch.arange(10)
    for _ in range(steps):
        chosen = torch.stack([p[torch.randint(len(p), (4,))] for p in places], dim=1)
        caption = torch.randint(len(CAPTIONS), (4,))
        loss = torch.zeros(())
        for row, text in zip(chosen, caption, strict=True):
            logits = model(images[row], features[text])
            loss = loss + (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 8
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def attacked(
    model: ImageTextModel, images: Tensor, names: Tensor, towards: Tensor, bound: float, steps: int
) -> Tensor:
    """Return images within a bound on each pixel whose nearest name is as near as can be another.

    Args:
        model: that is attacked.
        images: shape (image, 1, height, width), from 0 to 1.
        names: features of the class names, shape (class, dimension).
        towards: the class that each is to be taken for, shape (image,).
        bound: on the change of each pixel.
        steps: of projected gradient descent, each of a quarter of the bound.
    """
    changed = images.clone()
    for _ in range(steps):
        changed.requires_grad_(True)
        loss = cross_entropy(model(changed, names), towards, reduction="sum")
        [slope] = torch.autograd.grad(loss, changed)
        with torch.no_grad():
            moved = changed - bound / 4 * slope.sign()
            changed = moved.clamp(images - bound, images + bound).clamp(0, 1)
    return changed.detach()


def cell(source: str, policy: Policy, scores: LabelScores, draw: int = 0) -> Cell:
    """Return answers as `evoprompt robustness` keeps them."""
    answers = predicted(scores)[0]
    right = tuple((answers == scores.gold).astype(int).tolist())
    gold = tuple(scores.of_gold(scores.log_likelihood)[0].tolist())
    return Cell(
        "images", source, draw, policy.to_dict(), tuple(answers.tolist()), right, right, gold
    )


def told(mean: ClusteredMean | None) -> str:
    """Return a share in percent with its error."""
    return "" if mean is None else f"{100 * mean.value:.1f} ±{100 * (mean.error or 0):.1f}"


def main() -> None:
    """Train, attack, rename, and print the tables."""
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--bounds", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    digits, texts = load_digits(), Texts()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    examples = [
        Example(f"digits-{i}", str(i), WORDS[digits.target[i]], WORDS)
        for i in range(len(images) - TEST, len(images))
    ]
    places = [int(e.input) for e in examples]
    for seed in given.seeds:
        model = trained(texts, images[:-TEST], labels[:-TEST], seed, given.steps)
        asked = Classifier(model, texts, images)
        policy = Policy(SEEN)
        renamed = {
            kind: replace(
                policy,
                instruction=UNSEEN if words is WORDS else SEEN,
                label_words=tuple(zip(WORDS, words, strict=True)),
            )
            for kind, words in NAMES.items()
        }
        clean = cell(NONE, policy, asked.scores(policy, examples))
        twins = {k: cell(k, p, asked.scores(p, examples)) for k, p in renamed.items()}
        accuracies = {k: f"{100 * np.mean(t.right):.1f}" for k, t in twins.items()}
        print(f"seed {seed}: as it is {100 * np.mean(clean.right):.1f} %, renamed {accuracies}")
        rng = np.random.default_rng(seed)
        towards = (labels[places] + torch.tensor(rng.integers(1, 10, len(places)))) % 10
        for bound in given.bounds:
            names = asked.named(policy, WORDS)
            changed = attacked(model, images[places], names, towards, bound, 20)
            assert float((changed - images[places]).abs().max()) <= bound + 1e-6
            moved = images.clone()
            moved[places] = changed
            other = Classifier(model, texts, moved)
            attack = cell(ATTACK, policy, other.scores(policy, examples))
            print(f"  bound {bound:g}: right {100 * np.mean(attack.right):.1f} %")
            for kind, own in renamed.items():
                found = persistence_of(
                    clean, attack, [cell(ATTACKED + kind, own, other.scores(own, examples))],
                    [twins[kind]],
                )  # fmt: skip
                print(
                    f"    {kind}: of {found.num_flipped} flipped the same wrong answer "
                    f"{told(found.share)}, without the attack {told(found.twin)}"
                )


if __name__ == "__main__":
    main()
