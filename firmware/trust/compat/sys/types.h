/* SPDX-License-Identifier: Apache-2.0 */
/* For libsodium on bare metal: it includes this header and uses nothing of it. */
