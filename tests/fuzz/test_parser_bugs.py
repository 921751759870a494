# SPDX-License-Identifier: Apache-2.0
"""The bugs that model files have exploited elsewhere, one test a class, against the parsers here that could have them.

The names are those under which they were published. Each is tried where it would apply: in the importer of GGUF files,
the image loader, the link's messages, the chat template. From 21 on they are what the fuzzers here have found.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from host.errors import BY_NUMBER, DeviceFailure, HostError, SourceError
from host.files.gguf import open_gguf
from host.files.safetensors import open_safetensors
from host.link.client import Client
from host.link.frames import Damaged, Decoder, Frame, encode
from host.model import load_source
from host.ops import OpId
from host.schema.formats import formats
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout, SectionId
from host.schema.wire.header import Type
from host.schema.wire.requests import Space
from host.tokens.chat_template import ChatTemplate
from tests.fuzz.images import write_bpe, write_gpt2, write_llama
from tests.support.fake_device import FakeDevice
from tests.support.gguf_bytes import ARRAY, INT8, STRING, UINT32, entry, gguf, tensor, text
from tests.support.images import ImageEditor
from tests.support.model_files import write_folder, write_gguf, write_vocabulary
from tests.support.native import Native, params
from tests.support.tiny import tiny_llama

U32, U64 = 2**32 - 1, 2**64 - 1
Edit = Callable[[ImageEditor], ImageEditor]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], SourceError]:
    """The error with which a GGUF of these bytes is refused."""

    def refuse(data: bytes) -> SourceError:
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        with pytest.raises(SourceError) as error:
            open_gguf(path)
        return error.value

    return refuse


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("images")
    writers = {"llama": write_llama, "gpt2": write_gpt2, "bpe": write_bpe}
    return {name: write(folder / name).read_bytes() for name, write in writers.items()}


@pytest.fixture
def load(native: Native, images: dict[str, bytes]) -> Callable[..., str]:
    """What becomes of an edited image: the error's name, or ``harmless`` after a step of what was accepted."""

    def tried(edit: Edit, image: str = "llama") -> str:
        try:
            info = native.load(edit(ImageEditor(images[image])).sealed(), 4 << 20)
        except DeviceFailure as failure:
            assert not native.loaded
            return BY_NUMBER[failure.number].name
        native.step([(0, 0, info.vocab - 1, 1)])
        assert native.intact()
        return "harmless"

    return tried


@pytest.fixture
def client() -> Iterator[Client]:
    opened = Client(FakeDevice(), patience=20)
    opened.connect()
    yield opened
    opened.stream.close()


def test_01_counts_times_sizes_wrap(read: Any, load: Any) -> None:
    """CVE-2024-23605, CVE-2024-21836: n_kv and n_tensors, multiplied, made a small allocation."""
    assert "tensors" in str(read(gguf(tensors=2**60)))
    assert "metadata entries" in str(read(gguf(entries=2**61)))
    for field in ("tensor_count", "state_count", "op_count"):
        assert load(lambda e, field=field: e.plan(**{field: U32})) in ("IMAGE_LIMIT", "IMAGE_SECTION")


def test_02_the_product_of_dimensions_wraps(read: Any, load: Any) -> None:
    """CVE-2024-21802: info->ne."""
    for shape in ([2**32, 2**32], [2**63, 2], [2**21] * 4, [U64, 1, 1, 1]):
        assert "damaged" in str(read(gguf(tensor(shape), tensors=1)))
    assert load(lambda e: e.tensor(0, rows=2**22, cols=2**20)) == "IMAGE_TENSOR"
    assert load(lambda e: e.tensor(0, rows=U32, cols=U32)) == "IMAGE_LIMIT"


def test_03_the_length_of_a_text_plus_one_wraps(read: Any, load: Any) -> None:
    """CVE-2024-23496: gguf_fread_str."""
    assert "bytes in a text" in str(read(gguf(text(b"key", U64), entries=1)))
    value = entry(b"key", STRING, text(b"", U64))
    assert "bytes in a text" in str(read(gguf(value, entries=1)))
    assert load(lambda e: e.tensor(0, name_offset=U32, name_size=U32)) == "IMAGE_TENSOR"


def test_04_the_count_of_an_array_of_texts(read: Any) -> None:
    """CVE-2024-21825."""
    for count in (2**61, 2**22 + 1, U64):
        assert "elements" in str(read(gguf(entry(b"k", ARRAY, struct.pack("<IQ", STRING, count)), entries=1)))
    assert "truncated" in str(read(gguf(entry(b"k", ARRAY, struct.pack("<IQ", STRING, 1000)), entries=1)))


def test_05_what_an_early_error_leaves(read: Any, load: Any, native: Native, images: dict[str, bytes]) -> None:
    """CVE-2024-32878, CVE-2024-41130: pointers freed or followed that were never set."""
    whole = gguf(entry(b"k", UINT32, bytes(4)), tensor([8]), entries=1, tensors=1, data=b"")
    for size in range(4, len(whole)):
        read(whole[:size])
    for section in (SectionId.PLAN, SectionId.TENSORS, SectionId.STATES, SectionId.PROGRAM, SectionId.WEIGHTS):
        assert load(lambda e, section=section: e.section(section, id=99, flags=0)) == "IMAGE_SECTION"
        with pytest.raises(DeviceFailure):
            native.step([(0, 0, 0, 1)])
    native.load(images["llama"])
    assert native.step([(0, 0, 0, 1)]).shape == (1, 131)


def test_06_the_sum_of_padded_sizes_wraps(read: Any, load: Any) -> None:
    """CVE-2025-53630: gguf_init_from_file_impl."""
    two = tensor([8], 0) + tensor([8], U64 - 31, name=b"u")
    assert "truncated" in str(read(gguf(two, tensors=2)))
    assert load(lambda e: e.tensor(0, offset=U64 - 63)) == "IMAGE_TENSOR"
    assert load(lambda e: e.section(SectionId.WEIGHTS, size=U64 - 4095)) == "IMAGE_SECTION"
    assert load(lambda e: e.header(payload_size=U64)) == "IMAGE_SECTION"


def test_07_the_size_of_all_memory_wraps(load: Any) -> None:
    """CVE-2026-27940: the fix of the one before, by-passed through mem_size."""
    assert load(lambda e: e.plan(arena_bytes=2**64 - 64)) == "ARENA_SMALL"
    assert load(lambda e: e.plan(runtime_bytes=U64 - 63)) == "IMAGE_PLAN"
    assert load(lambda e: e.plan(arena_bytes=2**63, runtime_bytes=2**63)) == "IMAGE_PLAN"


def test_08_elements_are_checked_and_bytes_are_not(read: Any, load: Any) -> None:
    """CVE-2026-33298: an exabyte tensor in a file of 4 MB."""
    assert "truncated" in str(read(gguf(tensor([2**20, 2**19]), tensors=1)))
    assert load(lambda e: e.tensor(0, size=64)) == "IMAGE_TENSOR"
    assert load(lambda e: e.tensor(0, rows=64 * 1000)) == "IMAGE_TENSOR"


def test_09_alignment_without_a_limit(read: Any) -> None:
    """general.alignment, a power of two of any size."""
    for alignment in (2**31, 0, 3, 2**21):
        value = entry(b"general.alignment", UINT32, struct.pack("<I", alignment))
        assert "alignment" in str(read(gguf(value, entries=1)))
    value = entry(b"general.alignment", STRING, text(b"32"))
    assert "alignment" in str(read(gguf(value, entries=1)))


@pytest.mark.parametrize("key", [b"token_type", b"tokens"])
def test_10_an_array_of_one_type_read_as_another(tmp_path: Path, key: bytes) -> None:
    """Arrays of the tokenizer declared INT8 and read as floats or texts."""
    path = write_gguf(tiny_llama(), tmp_path / "model.gguf")
    data = path.read_bytes()
    name = text(b"tokenizer.ggml." + key)
    at = data.index(name) + len(name) + 4
    path.write_bytes(data[:at] + struct.pack("<I", INT8) + data[at + 4 :])
    with pytest.raises(SourceError):
        load_source(path)


def test_10_a_tensor_of_one_type_read_as_another(load: Any) -> None:
    """The same of weights: quantized ones as a norm's, and under another format."""
    assert load(lambda e: e.op(OpId.NORM, 0, weight=0), "gpt2") == "IMAGE_OP"
    known = {one.id for one in formats().values() if Layout.SWAR in one.layouts}
    for format_ in ({one.value for one in Format} | {one.id for one in formats().values()}) - {Q8.id}:
        said = load(lambda e, format_=format_: e.tensor(0, format=format_))
        assert said == ("IMAGE_TENSOR" if format_ in known else "IMAGE_NEW")


def test_11_signed_against_unsigned_in_the_tokenizer(native: Native, images: dict[str, bytes]) -> None:
    """CVE-2025-49847, CVE-2025-52566: a size above 2^31 passed as a negative one."""
    info = native.load(images["bpe"])
    for token in (info.vocab, 2**31, U32):
        with pytest.raises(DeviceFailure) as failure:
            native.step([(0, 0, token, 1)])
        assert BY_NUMBER[failure.value.number].name == "TOKEN"
    editor = ImageEditor(images["bpe"])
    start, size = editor.sections[SectionId.BPE]
    for at in range(start, min(start + 96, start + size), 4):
        changed = ImageEditor(images["bpe"])
        changed.data[at : at + 4] = struct.pack("<I", 2**31 + 1)
        native.load(changed.sealed(), 4 << 20)
        assert BY_NUMBER[-native.lib.engine_tokenizer_error(native.engine)].name == "IMAGE_BPE"


def test_12_accumulators_of_32_bits_wrap(load: Any) -> None:
    """PLaMo-2: sizes summed in an int."""
    for field in ({"col": U32}, {"stride": U32}, {"offset": U32}, {"offset": 2**26, "stride": 2**26}):
        assert load(lambda e, field=field: e.op(OpId.EMBED, dst=field)) == "IMAGE_OP"
    assert load(lambda e: e.op(OpId.NORM, width=2**20, segments=2**20)) == "IMAGE_OP"


def test_13_a_count_used_as_an_index(load: Any, tmp_path: Path) -> None:
    """block_count: layers that the file has no tensors for."""
    path = write_gguf(tiny_llama(), tmp_path / "model.gguf")
    data = path.read_bytes()
    at = data.find(b"llama.block_count") + len(b"llama.block_count") + 4
    for count in (0, 3, 2**31, U32):
        path.write_bytes(data[:at] + struct.pack("<I", count) + data[at + 4 :])
        with pytest.raises(SourceError):
            load_source(path)
    assert load(lambda e: e.op(OpId.KV_STORE, state=1)) == "IMAGE_OP"
    assert load(lambda e: e.op(OpId.ATTENTION, state=U32)) == "IMAGE_OP"


def test_14_dimensions_larger_than_the_file(read: Any, load: Any, native: Native, images: dict[str, bytes]) -> None:
    """CVE-2026-7482: the heap behind the file came out as weights."""
    assert "truncated" in str(read(gguf(tensor([65]), tensors=1)))
    assert load(lambda e: e.header(file_size=len(e.data) + 4096)) == "IMAGE_TRUNCATED"
    for size in range(0, len(images["llama"]), 4096):
        with pytest.raises(DeviceFailure):
            native.load(images["llama"][:size], 4 << 20)


def test_15_a_negative_number_from_the_wire(native: Native, images: dict[str, bytes], client: Client) -> None:
    """CVE-2026-21869: n_discard."""
    native.load(images["llama"])
    native.feed([1, 2, 3])
    for length in (4, 2**31, U32):
        with pytest.raises(DeviceFailure) as failure:
            native.truncate(length)
        assert BY_NUMBER[failure.value.number].name == "POSITION"
    assert native.length() == 3
    with pytest.raises(DeviceFailure):
        client.truncate(U32)
    with pytest.raises(DeviceFailure):
        client.truncate(0, session=U32)


def test_16_addresses_in_messages(client: Client) -> None:
    """CVE-2024-42478: an RPC frame named the memory to read."""
    for space, session, offset, size in (
        (Space.SESSION, 0, U64, 1),
        (Space.SESSION, 0, 2**63, 16),
        (Space.SESSION, U32, 0, 1),
        (Space.IMAGE, 0, U64 - 7, 16),
        (Space.IMAGE, 0, 0, U32),
    ):
        with pytest.raises(DeviceFailure):
            client.memory.await_data(client.memory.send_read(space, session, offset, size))
        with pytest.raises(DeviceFailure):
            client.memory.await_ok(client.memory.send_write(space, session, offset, bytes(8)))
    assert client.ping() >= 0


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ raise_exception.__globals__['os'].system('true') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% for i in range(1000000000) %}{{ i }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_17_a_chat_template_that_runs_code(template: str) -> None:
    """CVE-2024-34359: Jinja templates from GGUF files."""
    with pytest.raises(HostError):
        ChatTemplate(template, {}).render([{"role": "user", "content": "hello"}])


def test_18_use_after_a_parser_failed() -> None:
    """CVE-2026-107183: the chat parser's state was used after it had been freed."""
    template = ChatTemplate("{% if messages[0].content == 'bad' %}{{ raise_exception('no') }}{% endif %}ok", {})
    for content, fine in (("bad", False), ("good", True), ("bad", False), ("good", True)):
        if fine:
            assert template.render([{"role": "user", "content": content}]) == "ok"
        else:
            with pytest.raises(HostError):
                template.render([{"role": "user", "content": content}])
    decoder, frame = Decoder(), Frame(Type.PING, b"12345678")
    assert decoder.feed(b"\0\xff\xfe\0" + encode(frame)) == [Damaged(b"\xff\xfe"), frame]


OPERANDS = [
    (OpId.QUANTIZE, "gpt2", "dst", "src"),
    (OpId.NORM, "llama", "dst", "src"),
]


@pytest.mark.parametrize(("op", "image", "result", "source"), OPERANDS)
def test_19_allocations_that_overlap_or_lie_outside(
    load: Any, images: dict[str, bytes], op: OpId, image: str, result: str, source: str
) -> None:
    """CVE-2025-30404, -30405, -54949, -54950, -54951, -54952: ExecuTorch's memory plans."""
    editor = ImageEditor(images[image])
    values = editor.read_op(editor.find(op))
    for offset in (values[source].offset, values[source].offset + 1):
        assert load(lambda e, offset=offset: e.op(op, **{result: {"offset": offset}}), image) == "IMAGE_OP"
    arena = editor.read_plan().arena_bytes // 64
    for offset in (arena, arena - 1, U32):
        assert load(lambda e, offset=offset: e.op(op, **{result: {"offset": offset}}), image) == "IMAGE_OP"
    assert load(lambda e: e.plan(arena_bytes=64), image) == "IMAGE_PLAN"


def test_20_metadata_that_no_hash_covers(native: Native, images: dict[str, bytes]) -> None:
    """CVE-2024-32883: MCUboot took unprotected TLVs for protected ones. Here all is under the root."""
    image = images["llama"]
    hashes, size = ImageEditor(image).sections[SectionId.HASHES]
    checked = [*range(0, 96), *range(96, 4096, 61), *range(4096, hashes + size, 97)]
    for at in checked:
        changed = bytearray(image)
        changed[at] ^= 0x10
        with pytest.raises(DeviceFailure):
            native.load(bytes(changed), 4 << 20)
    native.load(image)
    assert native.sample(params(), native.feed([1])[0]) < 131


def test_21_a_length_of_zero_beside_one_of_any_size(tmp_path: Path) -> None:
    """Found by fuzz_python.py: no element, no byte, and a shape that numpy refuses."""
    for shape in ([0, U64], [0, 2**40, 2**40], [1] * 65):
        size = 4 if shape[0] else 0
        header = json.dumps({"t": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
        with pytest.raises(SourceError, match="shape"):
            open_safetensors(path)


def test_21_a_tensor_described_by_a_list(tmp_path: Path) -> None:
    """The safetensors library takes the fields in order for an object with their names."""
    header = json.dumps({"t": ["F32", [1], [0, 4]]}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(SourceError, match="object"):
        open_safetensors(path)


@pytest.mark.parametrize(("key", "count"), [(b"attention.head_count", 2**30), (b"block_count", 1024)])
def test_22_tables_as_long_as_the_metadata_say(tmp_path: Path, key: bytes, count: int) -> None:
    """A small file whose heads would have an order of 16 GiB, or whose layers take their time."""
    path = write_gguf(tiny_llama(), tmp_path / "model.gguf")
    data = path.read_bytes()
    at = data.index(text(b"llama." + key)) + len(text(b"llama." + key)) + 4
    path.write_bytes(data[:at] + struct.pack("<I", count) + data[at + 4 :])
    with pytest.raises(SourceError, match=r"shape|layers"):
        load_source(path)


@pytest.mark.parametrize("key", ["name", "license", "template"])
def test_23_texts_that_are_none(tmp_path: Path, key: str) -> None:
    """Bytes that are no UTF-8, in what goes into the image as text."""

    def describe(writer: GGUFWriter, size: int) -> None:
        write_vocabulary(writer, size)
        writer.add_name("a name")
        writer.add_license("a license")

    path = write_gguf(tiny_llama(), tmp_path / "model.gguf", vocabulary=describe)
    old = {"name": b"a name", "license": b"a license", "template": b"m.content"}[key]
    assert load_source(path).name == "a name"
    path.write_bytes(path.read_bytes().replace(old, b"\xff" + old[1:]))
    with pytest.raises(SourceError, match="UTF-8"):
        load_source(path)


def test_23_half_a_surrogate_pair(tmp_path: Path) -> None:
    """JSON can write what Unicode has not."""
    folder = write_folder(tiny_llama(), tmp_path / "model")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "\\ud83d"}')
    with pytest.raises(SourceError, match="surrogates"):
        load_source(folder)


def test_24_one_tensor_under_two_names(tmp_path: Path) -> None:
    """The file's own name and the one that it stands for: which of them counts would be chance."""
    doubled = {"model.norm.weight": np.zeros(96, np.float32)}
    path = write_gguf(tiny_llama(), tmp_path / "model.gguf", extra=doubled)
    with pytest.raises(SourceError, match="two names"):
        load_source(path)
