# SPDX-License-Identifier: Apache-2.0
"""What a host knows of the device at the other end of its line, and for how long it believes the device."""

from __future__ import annotations

from dataclasses import dataclass

from host.errors import DeviceFailure, TargetError
from host.link import limits
from host.link.records import DeviceInfo
from host.schema.wire.hello import DeviceState


@dataclass
class KnownDevice:
    """One device, by its own words and by the image where this host has that.

    patience: seconds without any byte after which the device is given up. image_bytes, session_bytes: size of the
    device's image, and the most that one of its sessions can hold; 0 where this host does not know the image.
    """

    patience: float
    image_bytes: int = 0
    session_bytes: int = 0
    said: DeviceInfo | None = None
    """Its newest HELLO_REPLY."""

    @property
    def info(self) -> DeviceInfo:
        """What the device said last of itself. TargetError before it has said anything."""
        if self.said is None:
            raise TargetError("not connected to a device yet")
        return self.said

    def require_model(self) -> None:
        """Raise DeviceFailure with the device's own error when it has no valid model."""
        if self.info.state == DeviceState.NO_MODEL:
            raise DeviceFailure(self.info.error, self.info.detail)

    @property
    def checked_bytes(self) -> int:
        """Bytes of the image that the device checks."""
        return self.image_bytes or self.info.image_bytes

    def check_seconds(self) -> float:
        """For how long the device may say that it checks its image."""
        return limits.check_seconds(self.patience, self.checked_bytes)

    def work_seconds(self) -> float:
        """For how long the device may say that it is there, without a result."""
        if self.said is None:
            return limits.work_seconds(self.patience, 0, 0)
        weights = self.said.weight_bytes
        return limits.work_seconds(self.patience, min(weights, self.image_bytes or weights), self.said.max_rows)

    def most_session_bytes(self) -> int:
        """The most bytes that a session can hold."""
        return self.session_bytes or max(self.info.runtime_bytes, 4 * self.info.context)
