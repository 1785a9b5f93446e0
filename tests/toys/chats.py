"""Chat templates in the forms that models have, and tokenizers for them."""

from __future__ import annotations

import re
from pathlib import Path
from shutil import copytree
from typing import Any

SYSTEM_IN_FRONT = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content ~ '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set head = '' %}{% set rest = messages %}{% endif %}"
)
ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)

#: By what is particular about each.
TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "a system of its own": "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m.role + '\n' "
    "+ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "headers, trimmed, with a date": "{{ bos_token }}{% if strftime_now is defined %}"
    "{% set day = strftime_now('%d %b %Y') %}{% endif %}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{% if m.role == 'system' %}{{ 'Today: ' + day + '\n' }}{% endif %}"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "no system, alternating": "{{ bos_token }}"
    + NO_SYSTEM
    + "{% for m in messages %}"
    + ALTERNATE
    + "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' "
    "+ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    "system before the first user": "{{ bos_token }}"
    + SYSTEM_IN_FRONT
    + "{% for m in rest %}"
    + ALTERNATE
    + "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' "
    "+ (head if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "no generation prompt, a space": "{{ bos_token }}" + SYSTEM_IN_FRONT + "{% for m in rest %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (head if loop.last else '') + m.content "
    "+ ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "ends take white space": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content "
    "+ '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}",
    "thinks, not in history": "{%- for m in messages %}\n"
    "    {%- if m.role == 'assistant' and '</think>' in m.content %}\n"
    "        {%- set said = m.content.split('</think>')[-1] %}\n"
    "    {%- else %}\n        {%- set said = m.content %}\n    {%- endif %}\n"
    "    {{- '<|im_start|>' + m.role + '\n' + said + '<|im_end|>\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n"
    "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    "        {{- '<think>\n\n</think>\n\n' }}\n    {%- endif %}\n{%- endif %}",
    "marks what is generated": "{% for m in messages %}{% if m.role == 'assistant' %}"
    "<|assistant|>\n{% generation %}{{ m.content }}<|end|>{% endgeneration %}\n"
    "{% continue %}{% endif %}"
    "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "words, no control tokens": "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + "
    "'\n\n' }}{% elif m.role == 'user' %}{{ 'USER: ' + m.content + '\n' }}{% else %}"
    "{{ 'ASSISTANT: ' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "dumps and namespaces": "{% set ns = namespace(n=0) %}{% for m in messages %}"
    "{% set ns.n = ns.n + 1 %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if m.role == 'user' %} {{ {'é': ns.n, 'tools': tools} | tojson }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "unicode bars": "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ m.content }}{% elif m.role == 'user' %}<\uff5cUser\uff5c>{{ m.content }}{% else %}"
    "<\uff5cAssistant\uff5c></think>{{ m.content }}<\uff5cend\uff5c>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<\uff5cAssistant\uff5c>{% if not thinking %}</think>{% endif %}"
    "{% endif %}",
}

#: Control tokens of all of them; those of thinking are no special tokens, as with real models.
CONTROLS = (
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|end|>"),
    *("<|assistant|>", "<|system|>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
    *("<\uff5cend\uff5c>", "<think>", "</think>"),
)

#: The least template whose control tokens the tiny model has.
TINY = (
    "{% for m in messages %}{{ bos_token + m.role + '\n' + m.content + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
)


def chat_tokenizer(source: str, *, words: bool = False) -> Any:
    """Return a tokenizer of transformers with a template and the control tokens: of bytes, or of
    words as SentencePiece has them, where control tokens take the white space after them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if words:
        letters = ["<unk>", "\u2581", "\n", *map(chr, range(33, 127))]
        merges = [("\u2581", letter) for letter in "abnyQAS"]
        vocabulary = {t: i for i, t in enumerate([*letters, *(a + b for a, b in merges)])}
        backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        backend = Tokenizer(models.BPE({t: i for i, t in enumerate(alphabet)}, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    special = [
        AddedToken(name, special=not re.search("think", name), normalized=False, rstrip=words)
        for name in CONTROLS
    ]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.add_special_tokens({"additional_special_tokens": [t for t in special if t.special]})
    tokenizer.add_tokens([t for t in special if not t.special])
    tokenizer.chat_template = source
    return tokenizer


def chat_model(folder: Path, target: Path, source: str = TINY) -> Path:
    """Copy a tiny model and give it a chat template; return the copy."""
    copytree(folder, target)
    (target / "chat_template.jinja").write_text(source, encoding="utf-8")
    return target
