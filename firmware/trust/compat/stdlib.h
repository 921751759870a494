/* SPDX-License-Identifier: Apache-2.0 */
/* For libsodium on bare metal: it includes this header, and calls abort() only where it signs. */
#include <stddef.h>
_Noreturn void abort(void);
