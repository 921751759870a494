# SPDX-License-Identifier: Apache-2.0
"""What families are described with: the record of a decoder and its graph, names of tensors, keys of configs."""
