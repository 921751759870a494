# SPDX-License-Identifier: Apache-2.0
"""What ``tools/assure.sh`` runs, each a row of one table: proofs, MC/DC, edits, fuzzing, broken lines and devices."""
