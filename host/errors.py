# SPDX-License-Identifier: Apache-2.0
"""Every error of the product: the table shared with the firmware, and the exceptions of the host.

``DEVICE_ERRORS`` is the one table from which ``tools/gen_headers.py`` makes the C enum and the documents their list.
Numbers are never used again. On the device an error is the negative number; on the wire it is the positive one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceError:
    """One row: its number, its C name without the ``E_``, what happened, and what the user can do."""

    number: int
    name: str
    what: str
    hint: str


DEVICE_ERRORS: tuple[DeviceError, ...] = (
    # 1..: the image
    DeviceError(
        1,
        "IMAGE_ABSENT",
        "no model image at the board's image address",
        "load the image: host run, or host pack and flash it",
    ),
    DeviceError(2, "IMAGE_TRUNCATED", "the image ends before its header says", "copy the image again, whole"),
    DeviceError(
        3,
        "IMAGE_VERSION",
        "the image's format version is not known to this firmware",
        "pack again, or build the firmware again, from one version",
    ),
    DeviceError(4, "IMAGE_HEADER", "the image's header is damaged", "copy or pack the image again"),
    DeviceError(5, "IMAGE_HASH", "the image's contents do not match their hash", "copy or pack the image again"),
    DeviceError(
        6, "IMAGE_SECTION", "a section is missing, there twice, misaligned or out of range", "pack the image again"
    ),
    DeviceError(7, "IMAGE_PLAN", "the memory plan contradicts itself", "pack the image again"),
    DeviceError(8, "IMAGE_TENSOR", "a tensor's shape, size or place is wrong", "pack the image again"),
    DeviceError(9, "IMAGE_STATE", "a state's shape or page size is wrong", "pack the image again"),
    DeviceError(
        10,
        "IMAGE_OP",
        "one of the fields or operands of an operation is wrong",
        "pack the image again with this version",
    ),
    DeviceError(
        11,
        "IMAGE_LIMIT",
        "the model is larger than this firmware was built for",
        "raise the limit in firmware/common/limits.h and build again",
    ),
    DeviceError(
        12,
        "ARENA_SMALL",
        "the model's memory plan does not fit the board's arena",
        "pack with a shorter --context, fewer --sessions or --kv int8",
    ),
    DeviceError(13, "IMAGE_BPE", "the terminal's tokenizer tables are damaged", "pack the image again"),
    DeviceError(14, "IMAGE_UNSIGNED", "the image is not signed, and this firmware asks for it", "sign it: host sign"),
    DeviceError(15, "IMAGE_KEY", "the image is signed by another key", "sign it by the key of this firmware"),
    DeviceError(16, "IMAGE_SIGNATURE", "the image's signature is wrong", "copy the image again, or sign it again"),
    DeviceError(17, "IMAGE_OLD", "the image is older than this firmware accepts", "use a newer image"),
    DeviceError(
        18,
        "IMAGE_NEW",
        "the image asks for something that this firmware does not know yet",
        "build the firmware again from a newer version, or pack the image with the firmware's own",
    ),
    # 32..: the engine's rows
    DeviceError(32, "ROWS", "more rows than the plan allows, or none", "send fewer rows"),
    DeviceError(33, "SESSION", "the session does not exist", "use a session below the image's number of sessions"),
    DeviceError(34, "POSITION", "a row's position is not the session's next one", "reset the session"),
    DeviceError(35, "TOKEN", "a token id is outside the vocabulary", "tokenize with the image's own tokenizer"),
    DeviceError(
        36, "CONTEXT_FULL", "the session's context is full", "reset the session, or pack with a longer --context"
    ),
    DeviceError(37, "CANCELLED", "the request was cancelled", ""),
    DeviceError(
        38, "ROLLBACK", "the session cannot be rolled back so far: its ring has been overwritten", "reset the session"
    ),
    # 64..: the link
    DeviceError(64, "FRAME", "a frame was damaged", "check the line and its baud rate"),
    DeviceError(65, "PROTOCOL", "the protocol version is not supported", "update host or firmware"),
    DeviceError(66, "MESSAGE", "a message is unknown or malformed", "update host or firmware"),
    DeviceError(67, "BUSY", "another request is still running", "wait for it or cancel it"),
    DeviceError(68, "PARAMETER", "a parameter is out of range", "see host run --help"),
    DeviceError(69, "NOT_READY", "the device has no valid model", "see the boot report"),
    DeviceError(70, "PENDING", "too many tokens wait to be evaluated", "evaluate what was sent, then send more"),
    DeviceError(
        71, "RUN", "there is no such run, or its first tokens are no longer kept", "ask again from its session"
    ),
    DeviceError(72, "LOADED", "a model is loaded where the image is to be written", "unload it first"),
    DeviceError(73, "RANGE", "the bytes lie outside of what there is", "ask for its size first"),
    DeviceError(74, "BAUD", "the UART cannot make this rate within 2 %", "choose one of those that host boards shows"),
    DeviceError(
        75,
        "OUTPUT",
        "the model does not make what was asked for",
        "host run and host eval are for models that write, host embed and host classify for encoders",
    ),
    # 96..: the port
    DeviceError(96, "HART", "a hart did not start", "check the board's hart list"),
    DeviceError(97, "IO", "the port could not read or write", "check the device or file"),
)

BY_NUMBER = {error.number: error for error in DEVICE_ERRORS}


class HostError(Exception):
    """A user's mistake or a broken input: printed without a traceback. ``exit_code`` is what the command returns."""

    exit_code = 1


class UsageError(HostError):
    """A flag or argument is wrong."""

    exit_code = 2


class SourceError(HostError):
    """A model file, config or tokenizer is missing, damaged or of an unknown kind."""

    exit_code = 3


class ImageError(HostError):
    """An image is damaged or of another version."""

    exit_code = 4


class FitError(HostError):
    """The model does not fit the board."""

    exit_code = 5


class TargetError(HostError):
    """A simulator, device or line cannot be started, is not ours, or went away."""

    exit_code = 6


class DeviceRestarted(TargetError):
    """The device was reset while it was connected: its sessions are gone, and can be restored from the host's."""


class DeviceFaulty(TargetError):
    """The device breaks what the protocol promises, or fails again and again: nothing more is to be had from it."""

    exit_code = 7


class DeviceFailure(HostError):
    """The device answered with one of ``DEVICE_ERRORS``."""

    exit_code = 7

    def __init__(self, number: int, detail: int = 0) -> None:
        error = BY_NUMBER.get(number)
        words = f"{error.what}; {error.hint}" if error and error.hint else error.what if error else "unknown error"
        super().__init__(
            f"the device reports error {number} ({error.name if error else '?'}): {words} [detail {detail}]"
        )
        self.number = number
        self.detail = detail
