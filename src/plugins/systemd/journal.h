/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines to the journal with fields. On a thread of the log. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <cygnet/plugin.h>

void journal_line(void *plugin, const struct cy_log_line *line);

/* The fields of a line, for sd_journal_sendv. Returns their number, at most JOURNAL_FIELDS; text is theirs. */
#define JOURNAL_FIELDS 9
struct iovec;
size_t journal_fields(const struct cy_log_line *line, char *text, size_t cap, struct iovec *out);

#endif
