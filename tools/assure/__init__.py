# SPDX-License-Identifier: Apache-2.0
"""What ``tools/assure.sh`` runs: proofs, MC/DC, exhaustive edits and fuzzing, each a row of one table."""
