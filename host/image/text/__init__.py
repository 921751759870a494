# SPDX-License-Identifier: Apache-2.0
"""The section TOKENS: what a tokenizer.json does to a text, as tables for a device.

A normalizer, a pre-tokenizer and a model are one file each, found by their folder; builder.py collects what they make.
"""
