"""Starting prompts that a configuration takes from elsewhere: a text with {input}, a file of
`evoprompt export`, DSPy or GEPA, a prompt of MLflow's registry -> the slots of a policy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from evoprompt.config.metric import OWN, MetricConfig
from evoprompt.config.sections import FinalConfig, FitnessConfig
from evoprompt.config.task import PolicyConfig, TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.tasks.render import render_prompt
from evoprompt.text_files import parse_json, read_text
from evoprompt.tracking.prompts import VARIABLE, template_of

#: How an address of MLflow's registry begins.
REGISTRY = "prompts:/"
#: What stands for the input in a text file.
INPUT = "{input}"
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
#: Of a demonstration in DSPy's files, what is neither an input nor an answer.
_NOTES = ("augmented", "dspy_uuid", "dspy_split", "reasoning")


def with_given(task: TaskConfig, folder: Path) -> TaskConfig:
    """Return the task with its starting policies written out; paths are seen from a folder.

    Raises:
        UserError: as `read_policy`.
    """
    if all(policy.from_ is None for policy in task.starting_policies):
        return task
    read = [read_policy(policy, folder) for policy in task.starting_policies]
    return task.model_copy(update={"starting_policies": read})


def with_own_metrics(
    task: TaskConfig, fitness: FitnessConfig, final: FinalConfig
) -> tuple[FitnessConfig, FinalConfig]:
    """Return the two sections with the metric of the task itself written out: where `fitness.kind`
    is metric and nothing more is said, and where a metric is called own. What is said beside its
    name goes before what the task says.

    Raises:
        UserError: the task has no metric of its own, or one that is not known here.
    """
    searched, tested = fitness.metric, final.metric
    if fitness.kind == "metric" and task.lm_eval is not None:
        searched = searched or MetricConfig(name=OWN)
    for key, metric in (("fitness.metric", searched), ("final.metric", tested)):
        if metric is not None and metric.name == OWN and task.lm_eval is None:
            raise UserError(f"{key}.name '{OWN}' goes with task.lm_eval; give another metric")
    searched, tested = (_written_out(metric, task.lm_eval) for metric in (searched, tested))
    return (
        fitness.model_copy(update={"metric": searched}),
        final.model_copy(update={"metric": tested}),
    )


def _written_out(metric: MetricConfig | None, name: str | None) -> MetricConfig | None:
    if metric is None or metric.name != OWN:
        return metric
    from evoprompt.tasks.harness.metric import own_metric

    said = {key: getattr(metric, key) for key in metric.model_fields_set - {"name"}}
    if metric.extract is not None:
        said.setdefault("filters", [])
    return own_metric(str(name)).model_copy(update=said)


def read_policy(policy: PolicyConfig, folder: Path) -> PolicyConfig:
    """Return a starting prompt written out: what is said of it in the configuration goes before
    what is where it is taken from.

    Raises:
        UserError: there is nothing, or nothing that is a prompt with one input.
    """
    if policy.from_ is None:
        return policy
    found = config_of(policy_from(policy.from_, folder))
    own = {k: getattr(policy, k) for k in policy.model_fields_set - {"from_"}}
    return found.model_copy(update=own)


def config_of(policy: Policy) -> PolicyConfig:
    """Return a policy as a configuration has it."""
    values = policy.to_dict()
    parts = ("input_prefix", "output_prefix", "separator", "answer_prefix")
    values |= dict(zip(parts, astuple(policy.template), strict=True))
    values.pop("template", None)
    if policy.evaluator is not None:
        values["evaluator"] = config_of(policy.evaluator).model_dump()
    return PolicyConfig.model_validate(values)


def policy_from(place: str, folder: Path) -> Policy:
    """Return the policy of a file or of an address in MLflow's registry.

    Raises:
        UserError: as `read_policy`.
    """
    if place.startswith(REGISTRY):
        from evoprompt.tracking.registry import load_template

        found = load_template(place)
        return _of_text(found, place, True) if isinstance(found, str) else _of_chat(found, place)
    path = folder / place
    text = read_text(path, "starting prompt")
    if path.suffix == ".json":
        return _of_json(parse_json(text, str(path)), str(path))
    if "\n# answer: " in text:
        raise UserError(
            f"{path} is an export as text, with its answers below the prompt; give that of "
            "evoprompt export --to json"
        )
    return _of_text(text.removesuffix("\n").removesuffix("\r"), str(path))


def _of_text(text: str, place: str, is_template: bool = False) -> Policy:
    """Return the policy of a prompt: what stands before the last blank line, or the last line end,
    before the input is its instruction.
    """
    if is_template:
        text = _with_input(text, place)
    before, found, after = text.partition(INPUT)
    if not found or INPUT in after:
        raise UserError(
            f"{place} has {text.count(INPUT)} times {INPUT}; a starting prompt has it once, where "
            "the input stands"
        )
    for separator in ("\n\n", "\n"):
        instruction, cut, prefix = before.rpartition(separator)
        policy = Policy(instruction, (), Template(prefix, after, separator))
        if cut and instruction and _is_said(policy, text):
            return policy
    return Policy("", (), Template(before, after))


def _is_said(policy: Policy, text: str) -> bool:
    spaces = policy.template.answer_prefix
    said = str(render_prompt(policy, INPUT))
    return text in (said, said.removesuffix(spaces) + spaces) or text.rstrip() == said.rstrip()


def _with_input(text: str, place: str) -> str:
    names = list(dict.fromkeys(_VARIABLE.findall(text)))
    if len(names) != 1:
        raise UserError(
            f"{place} has {len(names)} variables ({', '.join(names) or 'none'}); a starting prompt "
            "has one, for the input"
        )
    return _VARIABLE.sub(lambda _: INPUT, text)


def _of_chat(messages: Sequence[Mapping[str, str]], place: str) -> Policy:
    """Return the policy whose turns these messages are.

    Raises:
        UserError: no policy has just these.
    """
    turns = [(m["role"], m["content"]) for m in messages]
    names = list(dict.fromkeys(n for _, text in turns for n in _VARIABLE.findall(text)))
    if len(names) != 1:
        raise UserError(f"{place} has {len(names)} variables; a starting prompt has one")
    turns = [(role, _VARIABLE.sub(lambda _: VARIABLE, text)) for role, text in turns]
    instruction = turns.pop(0)[1] if turns[0][0] == "system" else ""
    begun = turns.pop()[1] if turns and turns[-1][0] == "assistant" else ""
    prefix, _, asked = turns.pop()[1].partition(VARIABLE) if turns else ("", "", "")
    template = Template(prefix, asked or (f"\n{begun}" if begun else ""), "\n\n")
    lead = f"{begun}{template.answer_prefix}" if begun else ""
    shown = tuple(
        Demonstration(
            question[1].removeprefix(prefix).removesuffix(asked), answer[1].removeprefix(lead)
        )
        for question, answer in zip(turns[::2], turns[1::2], strict=False)
    )
    policy = Policy(instruction, shown, template, chat="turns")
    expected = [{"role": m["role"], "content": _renamed(m["content"])} for m in messages]
    if template_of(policy) != expected:
        raise UserError(
            f"{place} has turns of {', '.join(m['role'] for m in messages)} that no policy says "
            "just so; expected a system's turn, pairs of user and assistant in the form of the "
            "last question, and that question, perhaps with how its answer begins"
        )
    return policy


def _renamed(text: str) -> str:
    return _VARIABLE.sub(lambda _: VARIABLE, text)


def _of_json(values: Any, place: str) -> Policy:
    """Return the policy of a file of `evoprompt export --to json`, of DSPy or of GEPA."""
    if isinstance(values, Mapping):
        if isinstance(values.get("policy"), Mapping):
            return Policy.from_dict(values["policy"])
        if isinstance(values.get("candidates"), list):
            return _of_candidate(_best(values, place), place)
        programs = [v for v in (values, *values.values()) if _is_predictor(v)]
        if len(programs) == 1:
            return _of_dspy(programs[0], place)
        if programs:
            raise UserError(f"{place} has {len(programs)} predictors of DSPy; give one of them")
        return _of_candidate(values, place)
    raise UserError(f"{place} is no prompt; expected the JSON of evoprompt export, DSPy or GEPA")


def _is_predictor(values: Any) -> bool:
    return isinstance(values, Mapping) and isinstance(values.get("signature"), Mapping)


def _of_dspy(values: Mapping[str, Any], place: str) -> Policy:
    fields = values["signature"].get("fields", [])
    if len(fields) != 2:
        raise UserError(
            f"{place} has a signature of {len(fields)} fields; a starting prompt has one input and "
            "one answer"
        )
    shown = []
    for demo in values.get("demos", []):
        texts = [str(v) for k, v in demo.items() if k not in _NOTES]
        if len(texts) != 2:
            raise UserError(f"{place}: a demonstration has {len(texts)} fields, and not 2: {demo}")
        shown.append(Demonstration(*texts))
    first, second = (str(field.get("prefix", "")).strip() for field in fields)
    template = Template(f"{first} " if first else "", f"\n{second}")
    return Policy(str(values["signature"].get("instructions", "")), tuple(shown), template)


def _best(values: Mapping[str, Any], place: str) -> Any:
    scores, candidates = values.get("val_aggregate_scores"), values["candidates"]
    if not isinstance(scores, list) or len(scores) != len(candidates) or not scores:
        raise UserError(f"{place} has candidates of GEPA without a val_aggregate_scores for each")
    return candidates[max(range(len(scores)), key=scores.__getitem__)]


def _of_candidate(values: Any, place: str) -> Policy:
    texts = list(values.values()) if isinstance(values, Mapping) else []
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise UserError(
            f"{place} is no candidate of GEPA with one text, no predictor of DSPy and no export of "
            f"evoprompt; it has {', '.join(map(str, values)) or 'nothing'}"
        )
    return Policy(texts[0])
