# SPDX-License-Identifier: Apache-2.0
"""Chat templates in the styles that models come with: minijinja writes what transformers' jinja2 writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from host.errors import SourceError
from host.model import Source
from host.tokens.chat_template import ChatTemplate
from tests.support.chat_templates import FAMILIES

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TALK = [
    {"role": "system", "content": "Be brief & <kind>."},
    {"role": "user", "content": "  Hello 'there'  "},
    {"role": "assistant", "content": 'A "quoted" answer\n'},
    {"role": "user", "content": "\u6f22\u5b57?"},
]
TEMPLATES = {
    "headers": """{% set loop_messages = messages %}{% for message in loop_messages %}
{% set content = '<|start|>' + message['role'] + '<|end|>\n\n' + message['content'] | trim + '<|eot|>' %}
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}
{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}""",
    "lines": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "instructions": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- else %}{{- " " + message["content"].strip() + eos_token }}{%- endif %}
{%- endfor %}""",
    "options": "{{ messages[1] | tojson(ensure_ascii=true, indent=2, separators=(',', ':'), sort_keys=true) }}",
    "tools": "{% if tools is not none %}tools{% endif %}{{ documents is none }}{{ tools is defined }}{{ tools }}",
    "answers": """{% for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- generation -%} {{ message.content }} {%- endgeneration -%} end
    {%- else %}
  {% generation %}
{{ message.content }}
  {% endgeneration %}

    {% endif %}
{%- endfor %}""",
    "scopes": "{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}",
    "breaks": "{% for m in messages %}{{ m.role }}{% break %}{% endfor %}",
    "lists": "{{ messages | map(attribute='role') | join('|') }}{{ (messages[1:] | first)['role'] }}",
    "dates": "{{ strftime_now('%d %b %Y%Z') }}",
    "json": "{{ messages | tojson }}{% if tools is defined and tools %}tools{% endif %}",
}


def by_transformers(
    template: str, special: dict[str, str], talk: Sequence[Mapping[str, str]] = TALK, prompt: bool = True
) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, _ = render_jinja_template(
        [talk], tools=None, documents=None, chat_template=template, add_generation_prompt=prompt, **special
    )
    return str(rendered[0])


@pytest.mark.parametrize("style", list(TEMPLATES))
def test_styles_of_templates(style: str) -> None:
    template = TEMPLATES[style]
    assert ChatTemplate(template, SPECIAL).render(TALK) == by_transformers(template, SPECIAL)


TALKS = {
    "one question": TALK[1:2],
    "with a system": TALK[:2],
    "two turns": TALK[1:],
    "two turns with a system": TALK,
    "an answer at the end": TALK[1:3],
    "a thought": [TALK[1], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}, TALK[3]],
    "two questions at once": [TALK[1], TALK[3]],
    "an unknown role": [{"role": "critic", "content": "Bad."}],
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_familys_template_renders_or_refuses_as_in_transformers(family: str) -> None:
    from jinja2.exceptions import TemplateError

    template, refused = FAMILIES[family], 0
    ours = ChatTemplate(template, SPECIAL)
    for talk in TALKS.values():
        for prompt in (True, False):
            try:
                wanted = by_transformers(template, SPECIAL, talk, prompt)
            except TemplateError as error:
                refused += 1
                with pytest.raises(SourceError, match=str(error)):
                    ours.render(talk, prompt)
            else:
                assert ours.render(talk, prompt) == wanted
    assert (refused > 0) == ("raise_exception('" in template or 'raise_exception("Turns' in template)


def test_the_template_of_smollm2(smollm2: Source) -> None:
    tokenizer = smollm2.tokenizer
    assert tokenizer is not None
    assert tokenizer.chat_template is not None
    wanted = by_transformers(tokenizer.chat_template, tokenizer.special)
    assert ChatTemplate(tokenizer.chat_template, tokenizer.special).render(TALK) == wanted
