"""A prompt of MLflow's registry, evolved by scorers for a program that nobody looks into."""

from __future__ import annotations

import mlflow
from mlflow.genai.scorers import scorer

import evoprompt as ep

ROWS = [
    {"inputs": {"text": f"a {word} meal"}, "expectations": {"expected_response": label}}
    for label, words in {
        "good": ("nice", "great", "fine", "lovely", "decent", "tasty", "superb", "rich"),
        "bad": ("poor", "awful", "sad", "bland", "cold", "dreadful", "stale", "burnt"),
    }.items()
    for word in words
]


def program(prompt: str) -> str:
    """Answer in place of a language model: it knows what to say where it is shown an answer."""
    *shown, asked = prompt.split("Text: ")
    answers = {"good", "bad"} if any(s.strip().endswith(("good", "bad")) for s in shown) else set()
    kind = "good" if any(w in asked for w in ("nice", "great", "fine", "lovely", "dec")) else "bad"
    return kind if kind in answers else "unsure"


def predict(text: str) -> str:
    """Return the program's answer, as the application has it."""
    prompt = mlflow.genai.load_prompt("prompts:/mood/1")
    return program(prompt.format(text=text))


@scorer
def exact(outputs: str, expectations: dict[str, str]) -> float:
    """Return whether the answer is the right one."""
    return float(outputs == expectations["expected_response"])


def optimized(calls: int = 100) -> mlflow.genai.optimize.types.PromptOptimizationResult:
    """Return what the optimizer found; the prompt's next version is registered."""
    text = "Say how the meal was.\n\nText: {{text}}\nMood:"
    prompt = mlflow.genai.register_prompt(name="mood", template=text)
    return mlflow.genai.optimize_prompts(
        predict_fn=predict,
        train_data=ROWS,
        prompt_uris=[prompt.uri],
        optimizer=ep.EvoPromptOptimizer(calls=calls),
        scorers=[exact],
    )


if __name__ == "__main__":
    found = optimized()
    print(found.initial_eval_score, "->", found.final_eval_score)
    print(found.optimized_prompts[0].template)
