/* SPDX-License-Identifier: Apache-2.0 */

/* The attr-sqlite plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_attr_sqlite_is_empty;
