"""Text after prompts: what it ends at, which tokens it counts, and tokens back to text by both
backends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.config.sections import ModelConfig
from evoprompt.measurement.writer import Writer
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest

END = 1  # "</s>", which no text has


class Script:
    """Stands for an executor: writes the same tokens after every prompt, token i with
    log-probability -(i + 1).
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens
        self.requests: list[Decoding] = []

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        self.requests += requests
        return [self._written(r) for r in requests]

    def _written(self, request: Decoding) -> Decoded:
        last = next((i for i, t in enumerate(self.tokens) if t in request.stop), None)
        drawn = tuple(
            self.tokens[: request.max_tokens] if last is None else self.tokens[: last + 1]
        )
        return Decoded(
            drawn,
            tuple(-(i + 1.0) for i in range(len(drawn))),
            last is not None,
            TokenCount(generated_tokens=len(drawn)),
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer with the merged token '.' and line end, and the two bytes of 'é' as
    tokens.
    """
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    letters = [
        "<s>",
        "</s>",
        "\u0120",
        "\u010a",
        *(chr(c) for c in range(33, 127)),
        "\u00c3",
        "\u00a9",
        ".\u010a",
    ]
    backend = Backend(
        models.BPE(vocab={t: i for i, t in enumerate(letters)}, merges=[(".", "\u010a")])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    path = tmp_path_factory.mktemp("tokens")
    backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "TokenizersBackend", "bos_token": "<s>", "eos_token": "</s>"}
        )
    )
    (path / "config.json").write_text(
        json.dumps({"model_type": "llama", "bos_token_id": 0, "eos_token_id": 1})
    )
    return path


def write(folder: Path, text: str, *, stops: Sequence[str] = ("\n",), max_tokens: int = 99):
    tokenizer = Tokenizer(folder)
    first, *others = tokenizer.encode(text.split("</s>"))
    script = Script([*first, *(token for part in others for token in (END, *part))])
    [written] = Writer(tokenizer, script).write(["Q: x\nA:"], max_tokens=max_tokens, stops=stops)
    return written


def test_the_text_ends_before_the_line_end_and_counts_its_own_tokens(folder: Path):
    written = write(folder, " yes\nQ: more")
    assert (written.text, written.num_tokens) == (" yes", 4)
    assert written.log_likelihood == -(1 + 2 + 3 + 4)


def test_a_token_that_has_text_before_its_line_end_counts(folder: Path):
    # 'o', 'k', and '.' with the line end in one token: the last one is needed for the text.
    written = write(folder, "ok.\nQ")
    assert (written.text, written.num_tokens, written.log_likelihood) == ("ok.", 3, -6)


def test_a_stop_text_of_several_tokens_is_cut_off_with_all_its_tokens(folder: Path):
    written = write(folder, "ab###cd", stops=["###"])
    assert (written.text, written.num_tokens, written.log_likelihood) == ("ab", 2, -3)


@pytest.mark.parametrize("text", ["ab##\ncd", "ab\ncd##", "ab##"])
def test_the_first_of_several_stop_texts_ends_the_text(folder: Path, text: str):
    written = write(folder, text, stops=["\n", "##"])
    assert (written.text, written.num_tokens, written.log_likelihood) == ("ab", 2, -3)


def test_nothing_before_the_stop_text_is_an_empty_text_without_tokens(folder: Path):
    written = write(folder, "\nyes")
    assert (written.text, written.num_tokens, written.log_likelihood) == ("", 0, 0)


def test_without_a_stop_text_only_special_tokens_and_the_limit_end_it(folder: Path):
    assert write(folder, "a\nb\n\nc", stops=()).text == "a\nb\n\nc"
    assert write(folder, "a\nb\n\nc", stops=(), max_tokens=3).text == "a\nb"
    written = write(folder, "a b</s>c d", stops=())
    assert (written.text, written.num_tokens) == ("a b", 3)


def test_a_character_that_the_limit_broke_off_is_left_out_with_its_tokens(folder: Path):
    assert write(folder, "né").text == "né"
    written = write(folder, "né", max_tokens=2)
    assert (written.text, written.num_tokens, written.log_likelihood) == ("n", 1, -1)


def test_requests_carry_what_was_asked(folder: Path):
    tokenizer = Tokenizer(folder)
    script = Script(tokenizer.encode(["x"])[0])
    Writer(tokenizer, script).write(
        ["ab", "", "ab"], max_tokens=7, temperature=0.5, seeds=[3, 4, 5], stops=["\n"]
    )
    assert [r.prompt for r in script.requests] == [
        *tokenizer.encode(["ab"]),
        (tokenizer.begin_token,),
        *tokenizer.encode(["ab"]),
    ]
    assert [(r.max_tokens, r.temperature, r.seed) for r in script.requests] == [
        (7, 0.5, 3),
        (7, 0.5, 4),
        (7, 0.5, 5),
    ]
    assert set(script.requests[0].stop) == {0, 1} | tokenizer.tokens_with("\n")


def test_drawing_at_random_needs_a_seed_for_each_prompt(folder: Path):
    writer = Writer(Tokenizer(folder), Script([]))
    with pytest.raises(ValueError, match="give seeds, one for each prompt"):
        writer.write(["a", "b"], max_tokens=1, temperature=1.0)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        writer.write(["a", "b"], max_tokens=1, seeds=[1])


def test_tokens_become_text_again_by_both_backends(tiny_model: Path, tmp_path: Path):
    slow_folder = Path(shutil.copytree(tiny_model, tmp_path / "slow"))
    settings = json.loads((slow_folder / "tokenizer_config.json").read_text())
    (slow_folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    fast, slow = Tokenizer(tiny_model), Tokenizer(slow_folder)
    assert (fast._slow, slow._fast) == (None, None)
    for tokenizer in (fast, slow):
        texts = ["a  b\n\nc , d .", " it 's", "x"]
        assert [tokenizer.decode(t) for t in tokenizer.encode(texts)] == texts
        assert tokenizer.decode((1, *tokenizer.encode(["ab"])[0], 2)) == "ab"
        assert tokenizer.special_tokens == {0, 1, 2}
        assert tokenizer.tokens_with("b") == set(tokenizer.encode(["b"])[0])


def test_the_tokens_with_a_line_end_are_those_whose_text_has_one(folder: Path):
    tokenizer = Tokenizer(folder)
    by_text = {t for t in range(101) if "\n" in tokenizer.decode([t])}
    assert tokenizer.tokens_with("\n") == by_text
    assert len(by_text) == 2


def test_a_models_text_has_the_likelihood_that_the_scorer_gives_it(tiny_model: Path):
    tokenizer, scorer = Tokenizer(tiny_model), load_scorer(ModelConfig(name=str(tiny_model)), 1)
    prompts = ["Q: the film\nA:", "Q: the book\nA:", "Q: the film\nA:"]
    written = Writer(tokenizer, LocalExecutor(scorer)).write(
        prompts, max_tokens=9, temperature=1.0, seeds=[1, 2, 3], stops=()
    )
    assert written[0].text != written[2].text
    for prompt, result in zip(prompts, written, strict=True):
        [context], [whole] = tokenizer.encode([prompt]), tokenizer.encode([prompt + result.text])
        assert len(whole) == len(context) + result.num_tokens
        [expected] = (
            Scorer(scorer.model)
            .score([TokenRequest(context, whole[len(context) :])])
            .log_likelihood
        )
        assert result.log_likelihood == pytest.approx(expected, abs=1e-4)
    assert sum((w.count for w in written), TokenCount()).generated_tokens >= sum(
        w.num_tokens for w in written
    )
