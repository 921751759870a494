# SPDX-License-Identifier: Apache-2.0
"""MC/DC of the frame codec, the receive ring and the request validator, as their unit tests reach it.

llvm-cov counts pairs in decisions of several conditions; those of one condition are its branches.
"""

from __future__ import annotations

import json
import sys

from tools.assure.common import CLANG_HINT, GENERATED, ROOT, WORK, Failed, Row, find_tool, run

SOURCES = ["link/cobs.c", "common/crc32c.c", "link/frame.c", "link/ring.c", "link/validate.c"]
TESTS = ["tests/unit/test_link_codec.py", "tests/unit/test_link_parts.py"]
KINDS = ("mcdc", "branches", "lines")


def measure() -> dict[str, tuple[int, int]]:
    """By kind: how much is covered, of how much. Raises Failed, also where a test fails."""
    clang = find_tool("clang", CLANG_HINT)
    library, profile = WORK / "codec.so", WORK / "codec.profdata"
    for old in WORK.glob("codec-*.profraw"):
        old.unlink()
    paths = [ROOT / "firmware" / source for source in (*SOURCES, "jobs/pending.c")]
    flags = ["-fprofile-instr-generate", "-fcoverage-mapping", "-fcoverage-mcdc", "-g", "-shared", "-fPIC"]
    WORK.mkdir(parents=True, exist_ok=True)
    run([clang, "-std=c11", *flags, "-Ifirmware", f"-I{GENERATED}", *paths, "-o", library], 120, log="coverage-build")
    run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        600,
        env={"HARTSPEAK_CODEC": str(library), "LLVM_PROFILE_FILE": str(WORK / "codec-%p.profraw")},
        log="coverage-tests",
    )
    run([find_tool("llvm-profdata", CLANG_HINT), "merge", *WORK.glob("codec-*.profraw"), "-o", profile], 60)
    cov = find_tool("llvm-cov", CLANG_HINT)
    run([cov, "show", "-show-mcdc", f"-instr-profile={profile}", library, *paths[:-1]], 60, log="coverage-lines")
    text = run([cov, "export", "-summary-only", f"-instr-profile={profile}", library, *paths[:-1]], 60, log="coverage")
    totals = json.loads(text)["data"][0]["totals"]
    return {kind: (totals[kind]["covered"], totals[kind]["count"]) for kind in KINDS}


def rows(full: bool) -> list[Row]:
    """One row: the tests are the same in either case."""
    del full
    found = measure()
    if not found["mcdc"][1]:
        raise Failed("llvm-cov found no condition at all; see coverage.txt")
    words = ", ".join(f"{kind} {covered} of {count}" for kind, (covered, count) in found.items())
    good = all(covered == count for covered, count in found.values())
    return [Row("coverage of codec, ring, validator", words.replace("mcdc", "MC/DC pairs"), "100 % MC/DC", good)]
