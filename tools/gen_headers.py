# SPDX-License-Identifier: Apache-2.0
"""Make the C headers of image format, wire messages, errors and selector from their Python declarations.

Offsets and little-endian accessors, never packed structs: nothing is cast over bytes from flash or wire.
usage: gen_headers.py {image|formats|wire|errors|selector} OUT.h
"""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from construct import Array, Bytes, Const, FormatField, Padded, Renamed, Struct

if TYPE_CHECKING:
    from host.ir.op import Op
    from host.schema.weights import GroupFormat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.generated import write_generated

C_TYPES = {
    "B": "uint8_t",
    "H": "uint16_t",
    "L": "uint32_t",
    "I": "uint32_t",
    "Q": "uint64_t",
    "f": "float",
    "b": "int8_t",
}
READERS = {"H": "le_u16", "L": "le_u32", "I": "le_u32", "Q": "le_u64", "f": "le_f32", "B": "le_u8"}


def snake(name: str) -> str:
    """``OpRopeTable`` as ``op_rope_table``."""
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def constants(module: ModuleType, prefix: str) -> list[str]:
    """Integer constants and enums of a module as ``#define`` lines."""
    lines = []
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, int) and not isinstance(value, enum.Enum):
            lines.append(f"#define {prefix}_{name} {value:#x}u")
        elif name.isupper() and isinstance(value, str):
            lines.append(f'#define {prefix}_{name} "{value}"')
        elif name.isupper() and isinstance(value, bytes):
            text = ", ".join(f"{b:#04x}" for b in value)
            lines.append(f"#define {prefix}_{name}_BYTES {{{text}}}")
    return lines + enums(module, prefix)


def enums(module: ModuleType, prefix: str) -> list[str]:
    """The enums that a module declares as ``#define`` lines."""
    lines, own = [], module.__name__
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, enum.Enum) and f"{value.__module__}.".startswith(f"{own}."):
            lines.append("")
            lines += [f"#define {prefix}_{snake(name).upper()}_{m.name} {int(m.value):#x}u" for m in value]
    return lines


def fields(struct: Struct, base: int = 0, path: str = "") -> list[tuple[str, int, Any]]:
    """Every leaf of a structure: its dotted name with underscores, its offset, its construct."""
    found: list[tuple[str, int, Any]] = []
    offset = base
    for sub in struct.subcons:
        name, inner = sub.name or "", sub
        while isinstance(inner, Renamed):
            inner = inner.subcon
        full = f"{path}_{name}" if path else name
        if isinstance(inner, Struct):
            found += fields(inner, offset, full)
            found.append((full, offset, inner))
        elif name and not isinstance(inner, Padded):
            found.append((full, offset, inner))
        offset += sub.sizeof()
    return found


def accessors(prefix: str, name: str, struct: Struct) -> list[str]:
    """Size, offsets, and reader and writer functions of one structure."""
    upper, lower = f"{prefix}_{snake(name)}".upper(), f"{prefix}_{snake(name)}".lower()
    lines = ["", f"#define {upper}_SIZE {struct.sizeof()}u"]
    for field, offset, inner in fields(struct):
        lines.append(f"#define {upper}_{field.upper()}_OFFSET {offset}u")
        if isinstance(inner, FormatField):
            code = inner.fmtstr[-1]
            lines += [
                f"static inline {C_TYPES[code]} {lower}_{field}(const uint8_t *p)",
                f"{{ return {READERS[code]}(p + {offset}); }}",
                f"static inline void {lower}_set_{field}(uint8_t *p, {C_TYPES[code]} v)",
                f"{{ {READERS[code].replace('le_', 'le_put_')}(p + {offset}, v); }}",
            ]
        elif isinstance(inner, Array):
            code = inner.subcon.fmtstr[-1]
            size = inner.subcon.sizeof()
            lines.append(f"#define {upper}_{field.upper()}_COUNT {inner.count}u")
            lines += [
                f"static inline {C_TYPES[code]} {lower}_{field}(const uint8_t *p, uint32_t i)",
                f"{{ return {READERS[code]}(p + {offset} + i * {size}u); }}",
            ]
        elif isinstance(inner, (Bytes, Const)):
            lines.append(f"#define {upper}_{field.upper()}_BYTES {inner.sizeof()}u")
    return lines


def joined(package: str, modules: Sequence[str]) -> ModuleType:
    """One module with all that some modules of a package declare, in their order."""
    whole = ModuleType(package)
    for name in modules:
        declared = vars(importlib.import_module(f"{package}.{name}"))
        vars(whole).update((key, value) for key, value in declared.items() if not key.startswith("__"))
    return whole


def declared(module: ModuleType, prefix: str) -> list[str]:
    """Constants, enums and structures of a module."""
    lines = constants(module, prefix)
    for name, value in vars(module).items():
        if isinstance(value, Struct):
            lines += accessors(prefix, name, value)
    return lines


def module_header(module: ModuleType, prefix: str, source: str, more: Iterable[str] = ()) -> str:
    """The whole header for one declaring module, with ``more`` lines of it."""
    guard = f"{prefix}_GENERATED_H"
    lines = [
        f"/* Made from {source} by tools/gen_headers.py: do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
    ]
    lines += ['#include "common/le.h"', ""]
    lines += [*declared(module, prefix), *more]
    if hasattr(module, "MESSAGES"):
        lines += requests(module)
    return "\n".join([*lines, "", "#endif", ""])


def image_header() -> str:
    """The image's tables, and what each file of host/ops and host/schema/formats declares."""
    from host.ops import OPS
    from host.schema import image, tokens

    more = [*declared(tokens, "IMAGE"), *step_lines(), *weight_formats(), *op_lines(OPS.values())]
    return module_header(image, "IMAGE", "host/schema, host/ops", more)


def formats_header() -> str:
    """Lists of the weight formats, and of the kernels that multiply with them."""
    from host.kernels import families, families_of
    from host.schema.formats import formats
    from host.schema.weights import FloatFormat, GroupFormat

    ones = list(formats().values())
    groups = [one for one in ones if isinstance(one, GroupFormat)]
    floats = [one for one in ones if isinstance(one, FloatFormat)]
    records = [(one, layout) for one in ones for layout in one.layouts]
    lines = ["/* Made from host/schema/formats and the names in firmware/kernels: do not edit. */"]
    lines += ["#ifndef FORMATS_GENERATED_H", "#define FORMATS_GENERATED_H", ""]
    lines += [f'#include "formats/{one.name}.h"' for one in ones]
    lines += listed(
        "FORMATS_RECORDS",
        "name, NAME, layout, LAYOUT, bytes of a record, its columns, ACTIVATIONS",
        [
            f"{both(one.name)}, {both(layout.name)}, {one.record_bytes(layout)}u, {one.columns}u, "
            f"{one.activations.name}"
            for one, layout in records
        ],
    )
    lines += listed(
        "FORMATS_GROUPS",
        "name, NAME, bytes of a record's values, greatest magnitude of one, whether there are minima",
        [f"{both(one.name)}, {value_facts(one)}" for one in groups],
    )
    lines += listed(
        "FORMATS_GROUP_RECORDS",
        "as FORMATS_GROUPS behind name, NAME, layout, LAYOUT",
        [f"{both(one.name)}, {both(layout.name)}, {value_facts(one)}" for one in groups for layout in one.layouts],
    )
    lines += listed(
        "FORMATS_FLOATS",
        "name, NAME, bytes of a value",
        [f"{both(one.name)}, {one.bits // 8}u" for one in floats],
    )
    for family in families():
        chosen = [
            f"{one.name.upper()}, {layout.name}, {group_kernel(family, one.name, layout.name.lower())}"
            for one in groups
            for layout in one.layouts
        ]
        lines += listed(f"KERNELS_{family.upper()}_GROUPS", "FORMAT, LAYOUT, function", chosen)
        chosen = [f"{one.name.upper()}, {float_kernel(family, one.name)}" for one in floats]
        lines += listed(f"KERNELS_{family.upper()}_FLOATS", "FORMAT, function", chosen)
    for machine in sorted({name for one in families().values() for name in one.machines}):
        chosen = [f'{one.name}, {processor_bits(one.features)}, "{one.words}"' for one in families_of(machine)]
        lines += listed(f"KERNELS_OF_{machine.upper()}", "family, features of a processor, in words", chosen)
    packed = [
        f"{one.name.upper()}, {layout.name}, swar_packed_{one.name}{SWAR_LAYOUTS[layout.name.lower()]}"
        for one in groups
        for layout in one.layouts
        if layout.name.lower() in SWAR_LAYOUTS and one.name in kernel_formats("swar")
    ]
    lines += listed("KERNELS_PACKED", "FORMAT, LAYOUT, version", packed)
    return "\n".join([*lines, "", "#endif", ""])


def listed(name: str, what: str, entries: Sequence[str]) -> list[str]:
    """A macro of one argument X, which it applies to each entry."""
    return ["", f"/* X({what}) */", f"#define {name}(X) \\", *(f"    X({entry}) \\" for entry in entries)]


def both(name: str) -> str:
    """A name in small letters and in capitals."""
    return f"{name.lower()}, {name.upper()}"


def value_facts(one: GroupFormat) -> str:
    """What FORMATS_GROUPS says of a format's values."""
    return f"{one.value_bytes}u, {max(-one.low, one.high)}, {int(one.has_minimum)}"


def kernel_formats(family: str) -> set[str]:
    """The formats that files of this family read: linear_<format>[_<format>...].c."""
    files = (Path(__file__).resolve().parents[1] / "firmware/kernels" / family).glob("linear_*.c")
    return {name for file in files for name in file.stem.split("_")[1:]}


SWAR_LAYOUTS = {"swar": "", "lean": "_lean"}
"""The layouts of the SWAR kernels, and what their functions' names end in."""


def group_kernel(family: str, name: str, layout: str) -> str:
    """The function for a format and layout: of the kernels for this order where the family has them, else portable."""
    readers = ["swar"] if layout in SWAR_LAYOUTS else readers_of(family) if layout == "rvv" else []
    found = next((reader for reader in readers if reader != "scalar" and name in kernel_formats(reader)), None)
    return f"{found}_linear_{name}{SWAR_LAYOUTS.get(layout, '')}" if found else f"scalar_linear_{name}_{layout}"


def float_kernel(family: str, name: str) -> str:
    """The function for a format of floats: the family's own where it has one, else portable."""
    return f"{next((one for one in readers_of(family) if name in kernel_formats(one)), 'scalar')}_linear_{name}"


def processor_bits(features: Sequence[str]) -> str:
    """Features of a processor as the hosted port asks for them."""
    return " | ".join(f"PROCESSOR_{name.upper()}" for name in features) or "0"


def readers_of(family: str) -> list[str]:
    """A family and those that stand in for it."""
    from host.kernels import families

    return [family, *families()[family].uses]


def weight_formats() -> list[str]:
    """The ids of the weight formats, beside those that image.py's Format has."""
    from host.schema.formats import formats
    from host.schema.image import Format

    others = [one for one in formats().values() if one.id not in set(Format)]
    return ["", *(f"#define IMAGE_FORMAT_{one.name.upper()} {one.id:#x}u" for one in others)]


def op_lines(ops: Iterable[Op]) -> list[str]:
    """Of each op its id, version, enums and fields; ``IMAGE_OPS(X)``: X(name, NAME) for each."""
    lines, names = [], []
    for op in ops:
        upper = op.name.upper()
        names.append(f"    X({op.name}, {upper}) \\")
        lines += ["", f"#define IMAGE_OP_ID_{upper} {op.id:#x}u", f"#define IMAGE_OP_VERSION_{upper} {op.version}u"]
        lines += enums(sys.modules[op.node.__module__], "IMAGE")
        lines += accessors("IMAGE", f"op_{op.name}", op.fields)
    return [*lines, "", "#define IMAGE_OPS(X) \\", *names, ""]


def step_lines() -> list[str]:
    """``IMAGE_STEP_KINDS(X)``: X(name) for each step of the tokenizer, by ids from 1 on."""
    from host.schema.tokens import StepKind

    names = [kind.name.lower() for kind in sorted(StepKind)]
    return ["", "#define IMAGE_STEP_KINDS(X) \\", *(f"    X({name}) \\" for name in names), ""]


def requests(module: ModuleType) -> list[str]:
    """``WIRE_REQUESTS(X)``: X(type, bytes of the fixed part, bytes of a record or 0, offset of their count)."""
    from host.schema.wire.payload import payload_sizes

    lines = ["", "#define WIRE_REQUESTS(X) \\"]
    for kind, message in module.MESSAGES.items():
        if message.sender == "host":
            sizes = payload_sizes(message)
            lines.append(f"    X({kind.value:#x}, {sizes.fixed}, {sizes.record}, {sizes.count}) \\")
    return [*lines, ""]


def errors_header() -> str:
    """The error enum; functions return the negative number."""
    from host.errors import DEVICE_ERRORS

    lines = ["/* Made from host/errors.py by tools/gen_headers.py: do not edit. */", "#ifndef ERRORS_GENERATED_H"]
    lines += ["#define ERRORS_GENERATED_H", "", "enum error {", "    E_OK = 0,"]
    lines += [f"    E_{e.name} = -{e.number}, /* {e.what} */" for e in DEVICE_ERRORS]
    lines += ["};", "", "#define ERROR_WORDS(X) \\"]
    lines += [f'    X({e.number}, "{e.what}", "{e.hint}") \\' for e in DEVICE_ERRORS]
    return "\n".join([*lines, "", "#endif", ""])


def main(argv: list[str]) -> int:
    """Write the header that argv[1] names to argv[2]."""
    kind, out = argv[1], Path(argv[2])
    if kind == "errors":
        text = errors_header()
    elif kind == "image":
        text = image_header()
    elif kind == "formats":
        text = formats_header()
    elif kind == "wire":
        from host.schema import wire

        text = module_header(joined(wire.__name__, wire.MODULES), "WIRE", "host/schema/wire")
    elif kind == "selector":
        from host.medium import selector

        text = module_header(selector, "SELECTOR", "host/medium/selector.py")
    else:
        raise SystemExit(f"unknown header {kind!r}: image, formats, wire, errors or selector")
    write_generated(out, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
