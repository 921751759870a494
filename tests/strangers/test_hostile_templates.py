# SPDX-License-Identifier: Apache-2.0
"""Chat templates: depth, memory, output and odd calls end in words; all else is as transformers has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from host.errors import HostError, ImageError, SourceError
from host.image.bpe import bpe_section
from host.image.device_text import why_no_terminal
from host.image.inspect import summary
from host.image.reader import Image
from host.image.text.roles import find_roles
from host.tokens.chat_template import ChatFormatter, ChatTemplate
from host.tokens.sandbox import SANDBOX
from tests.support.device_tokenizer import image_source
from tests.support.texts import described
from tests.support.tiny import tiny_image, tiny_llama

NESTING = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}"
TALK = [{"role": "user", "content": "hi"}]
DOUBLING = (
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
)


def rendered(template: str, special: Mapping[str, str] | None = None) -> str:
    return ChatTemplate(template, special or {}).render(TALK)


DEPTH = {
    "not": "{{ " + "not " * 200_000 + "1 }}",
    "minus": "{{ " + "-" * 200_000 + "1 }}",
    "parentheses": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "lists": "{{ " + "[" * 100_000 + "]" * 100_000 + " }}",
    "attributes": "{{ a" + ".b" * 100_000 + " }}",
    "filters": "{{ 'a'" + "|upper" * 100_000 + " }}",
    "sums": "{{ 1" + "+1" * 200_000 + " }}",
    "ifs": "{% if 1 %}" * 40_000 + "{% endif %}" * 40_000,
    "values": NESTING + "{{ ns.x }}",
    "json": NESTING + "{{ ns.x|tojson }}",
    "macros": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
}
SIZE = {
    "doubling": DOUBLING,
    "indent": "{{ messages|tojson(indent=2000000000) }}",
    "replace": "{{ ('a'*100000)|replace('a', 'b'*100000) }}",
    "repeat": "{{ 'a' * 1000000000 }}",
    "power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "output": "{% for i in range(20) %}" + "a" * 1_000_000 + "{% endfor %}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i %}{% endfor %}{% endfor %}",
}


@pytest.mark.parametrize("name", [*DEPTH, *SIZE])
def test_it_ends_in_a_line_and_the_next_one_works(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        rendered((DEPTH | SIZE)[name])
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert "template" in str(caught.value)
    assert rendered("{{ messages[0].content }}") == "hi"


@pytest.mark.slow
def test_a_million_lines_of_output_end_in_a_line() -> None:
    with pytest.raises(SourceError, match=r"memory|long|16 MiB|fuel"):
        rendered("{% for i in range(99999) %}{% for j in range(99999) %}" + "a" * 10_000 + "{% endfor %}{% endfor %}")


@pytest.mark.parametrize("template", [DEPTH["not"], SIZE["indent"]], ids=["depth", "memory"])
def test_packing_and_images_refuse_what_breaks_the_limits(template: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        bpe_section(described("gpt2", template))
    source = image_source(described("gpt2", "{{ messages[0].content }}"))
    tiny_image(tmp_path / "good.hsp", source)
    image = Image(tmp_path / "good.hsp").tokenizer
    image.chat_template = template
    for use in (lambda: why_no_terminal(image), lambda: ChatFormatter(image).turn(TALK)):
        with pytest.raises(ImageError) as caught:
            use()
        assert caught.value.exit_code == 4


def test_an_image_without_tables_is_inspected_whatever_its_template_does(tmp_path: Path) -> None:
    tiny_image(tmp_path / "tiny.hsp", tiny_llama())
    image = Image(tmp_path / "tiny.hsp")
    image.tokenizer.json = described("gpt2").json
    image.tokenizer.chat_template = DEPTH["not"]
    assert any("answers no typed lines: the chat template cannot be read" in line for line in summary(image))


def test_a_template_that_is_merely_wrong_costs_the_terminal_only() -> None:
    for template in ("{{ 1", "{{ raise_exception('no') }}", "{{ messages[9].x.y }}", "{{ strftime_now(5) }}"):
        assert "chat template" in (why_no_terminal(described("gpt2", template)) or "")


# ---- calls ----


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("messages[0] | tojson", '{"role": "user", "content": "hi"}'),
        ("messages[0] | tojson(ensure_ascii=False)", '{"role": "user", "content": "hi"}'),
        ("'\u00e9<' | tojson", '"\u00e9<"'),
        ("'\u00e9<' | tojson(ensure_ascii=true)", '"\\u00e9<"'),
        ("messages[0] | tojson(separators=(',', ':'))", '{"role":"user","content":"hi"}'),
        ("messages[0] | tojson(sort_keys=true)", '{"content": "hi", "role": "user"}'),
        ("messages[0] | tojson(indent=1)", json.dumps(TALK[0], indent=1)),
        ("[1, [2]] | tojson(false, 2, [',', ': '], true)", json.dumps([1, [2]], indent=2)),
        ("(strftime_now('%Y') | int) > 2000", "True"),
        ("strftime_now('%Z')", ""),
    ],
)
def test_functions_take_what_transformers_takes(call: str, expected: str) -> None:
    assert rendered("{{ " + call + " }}") == expected


@pytest.mark.parametrize(
    "call",
    [
        *(
            "strftime_now(5)",
            "strftime_now()",
            "raise_exception()",
            "raise_exception([1])",
            "messages | tojson(nope=1)",
        ),
        *("messages | tojson(separators=5)", "messages | tojson(indent=[])", "raise_exception('x\ny\x1b[31m')"),
    ],
)
def test_other_arguments_are_refused_in_a_line(call: str) -> None:
    with pytest.raises(SourceError, match=r"chat template (fails|refuses)") as caught:
        rendered("{{ " + call + " }}")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- names ----


def test_tools_and_documents_are_none_not_undefined() -> None:
    template = "{{ tools is none }} {{ tools == None }} {{ tools is defined }} {{ documents is none }} {{ tools }}"
    assert rendered(template) == "True True True True None"
    assert rendered("{% if tools is not none %}tools{% endif %}{{ messages[0].content }}") == "hi"
    assert find_roles(described("gpt2", "{% if tools is not none %}T{% endif %}{{ messages[0].content }}")).first == ""


def test_every_named_special_token_is_given() -> None:
    names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    template = "".join("{{ " + name + "_token }}" for name in names)
    assert (
        rendered(template, {f"{name}_token": f"<{name}>" for name in names}) == "<bos><eos><unk><sep><pad><cls><mask>"
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[x] {%- generation -%} b {%- endgeneration -%} c", "[x]bc"),
        ("[x] {% generation %} b {% endgeneration %} c", "[x]  b  c"),
        ("a\n  {% generation %}\nb\n  {% endgeneration %}\nc", "a\nb\nc"),
        ("{%+ generation -%}  b{%- endgeneration +%}\nc", "b\nc"),
        ("{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}", "False"),
        ("{% raw %}{% generation %}{% endraw %}{# {% generation %} #}{{ 1 }}", "{% generation %}1"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
    ],
)
def test_the_tag_of_answers_trims_like_any_other(template: str, expected: str) -> None:
    assert rendered(template) == expected


# ---- the child ----


def test_a_child_that_is_gone_is_replaced() -> None:
    template = ChatTemplate("{{ messages[0].content }}", {})
    assert template.render(TALK) == "hi"
    process = SANDBOX._process
    assert process is not None
    process.kill()
    process.wait()
    assert template.render(TALK) == "hi"
    assert SANDBOX._process is not process


def test_an_interrupt_leaves_no_half_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate("{{ messages[0].content }}", {})
    template.render(TALK)
    process = SANDBOX._process

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SANDBOX, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            template.render(TALK)
    assert process is not None
    assert process.poll() is not None
    assert template.render(TALK) == "hi"


def test_templates_longer_than_a_mebibyte_are_refused() -> None:
    with pytest.raises(HostError, match="1048576"):
        rendered("a" * ((1 << 20) + 1))
