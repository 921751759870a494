# SPDX-License-Identifier: Apache-2.0
"""From a model to an image: what ``host pack`` does."""
