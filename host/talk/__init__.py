# SPDX-License-Identifier: Apache-2.0
"""Conversations: what chat, run and session do above a link."""
