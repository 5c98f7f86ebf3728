"""Chat templates: what models really ship, and what a hostile file could hold."""

import signal
import time
import tracemalloc

import pytest

from models.backends.base import ChatFormat, RequestError
from models.template_sandbox import MAX_TEXT
from models.templates import CHATML, MAX_SOURCE, RENDER_S, ChatTemplate
from protocols.jobs import Message

CHAT = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello"))
NEXT = Message("user", "A joke")


def render(source: str | None, *messages: Message) -> str:
    template = ChatTemplate(ChatFormat(source, bos="<s>", eos="</s>"))
    return template.render(messages or (*CHAT, NEXT))


def refusal(source: str) -> str:
    with pytest.raises(RequestError) as caught:
        render(source)
    assert caught.value.code == "bad_request"
    return str(caught.value)


def test_a_model_without_a_template_gets_chatml() -> None:
    assert render(None, NEXT) == "<|im_start|>user\nA joke<|im_end|>\n<|im_start|>assistant\n"
    assert render(None, NEXT) == render(CHATML, NEXT)


LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != "
    "(loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    "{%- set ns = namespace(last=-1) %}{%- for m in messages[::-1] %}{%- set i = messages|length - 1 "
    "- loop.index0 %}{%- if ns.last < 0 and m.role == 'user' %}{%- set ns.last = i %}{%- endif %}"
    "{%- endfor %}{%- for m in messages %}{%- set c = m.content.split('</think>')[-1].lstrip('\\n') %}"
    "{%- if m.role == 'system' and not m.content.startswith('x') %}{%- continue %}{%- endif %}"
    "{%- if loop.index0 == ns.last %}{{- '[' ~ c ~ ']' }}{%- else %}{{- c|upper }}{%- endif %}"
    "{%- endfor %}{%- if tools %}{{- tools | tojson(indent=2) }}{%- endif %}"
)


def test_the_ways_of_real_models_work() -> None:
    assert render(LLAMA_3).startswith(
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot"
    )
    assert render(MISTRAL, *CHAT[1:], NEXT) == "<s>[INST] Hi [/INST]Hello</s>[INST] A joke [/INST]"
    assert render(THINKING) == "HIHELLO[A joke]"


def test_blocks_are_trimmed_as_models_expect() -> None:
    source = "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}"
    assert render(source, NEXT) == "A joke\n"


def test_marks_for_training_are_passed_over() -> None:
    assert render("{% generation %}{{ messages[0].content }}{% endgeneration %}", NEXT) == "A joke"


def test_dates_and_json_are_there() -> None:
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10
    assert render("{{ {'b': 1, 'a': 'é<'} | tojson }}") == '{"b": 1, "a": "é<"}'


def test_formatting_is_plain() -> None:
    assert render("{{ '{} and {1}, {n}'.format(1, 2, n=3) }}") == "1 and 2, 3"
    assert render("{{ ', '.join(['a', 'b']) ~ 'c'.replace('c', 'd') ~ 'x' * 3 }}") == "a, bdxxx"
    assert render("{{ ['a', 'b'] | join('-') }}{{ 'a\nb' | indent(2) }}") == "a-ba\n  b"


def test_the_template_can_refuse_a_chat_in_its_own_words() -> None:
    assert "roles must alternate" in refusal(MISTRAL)
    assert "no such" in refusal("{{ raise_exception('no such role') }}")


def test_a_broken_template_is_said_so() -> None:
    assert "chat template" in refusal("{% for %}")
    assert "chat template" in refusal("{{ messages[99].content.x }}")


ENDLESS = (
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% for i in range(90000) %}{{ m(n) }}{% endfor %}{% endmacro %}{{ m(1) }}",
    "{% set ns = namespace(n=2) %}{% for a in range(90000) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
)
HUGE = (
    "{% for a in range(90000) %}{{ 'x' * 90000 }}{% endfor %}",
    "{{ 'x' * 10 ** 12 }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 1000000000 * 'x' }}",
    "{{ [0] * 1000000000 }}",
    "{{ 'x'.center(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000d}'.format(1) }}",
    "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s='xx') %}{% for a in range(9) %}"
    "{% set ns.s = ns.s.replace('x', ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='xx') %}{% for a in range(9) %}"
    "{% set ns.s = ns.s | replace('x', ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='xx') %}{% for a in range(9) %}{% set ns.s = ns.s | join(ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='xx') %}{% for a in range(9) %}{% set ns.s = ns.s.join(ns.s) %}{% endfor %}",
    "{% set ns = namespace(s=['x']) %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[1]) %}{% for a in range(60) %}"
    "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s=[1]) %}{% for a in range(60) %}"
    "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
    "{{ range(1000000000) | list }}",
    "{{ 'x' | wordwrap(1) }}",
    "{{ lipsum(n=100000) }}",
)
ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__globals__['signal'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0[0]}'.format('a') }}",
    "{{ ''.format_map({}) }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__.os }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='system') }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{{ (1).to_bytes(1000000000, 'big') }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ messages | map('attr', '__class__') | list }}",
)


@pytest.mark.parametrize("source", [*ENDLESS, *HUGE])
def test_an_attack_on_time_or_memory_fails_soon_and_small(source: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        refusal(source)
        assert time.process_time() - began < RENDER_S * 3
        assert tracemalloc.get_traced_memory()[1] < 400_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", ESCAPES)
def test_the_sandbox_holds(source: str) -> None:
    try:
        text = render(source)
    except RequestError:
        return
    assert not any(word in text for word in ("class", "function", "module", "<", "0x"))


def test_a_template_that_is_too_long_is_not_read() -> None:
    assert "longer than" in refusal("x" * (MAX_SOURCE + 1))


def test_widths_are_clamped() -> None:
    assert len(render("{{ 'a\\na' | indent(1000000000) }}")) < 200
    assert len(render("{{ [1, 2] | tojson(indent=1000000000) }}")) < 200


def test_output_is_bounded() -> None:
    assert "more than" in refusal("{% for a in range(5000) %}{{ 'x' * 1000 }}{% endfor %}")
    assert MAX_TEXT < 5000 * 1000


def test_the_timer_is_gone_afterwards() -> None:
    before = signal.getsignal(signal.SIGPROF)
    render(None)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) == before
